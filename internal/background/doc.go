// Package background keeps work that can wait out of the way of work that cannot.
//
// Go's scheduler knows no priorities, the kernel's does. So what reconciles, which
// may take milliseconds at a time, runs on threads that the kernel lets go behind
// those that carry packets. Goroutines of dataplane and steering call it when they
// begin; it starts none itself.
package background
