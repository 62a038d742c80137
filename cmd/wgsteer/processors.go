package main

import "runtime"

// oneMoreProcessor lets one goroutine more run at a time than there are CPUs, unless
// the environment says how many. What reconciles runs on threads that the kernel
// lets wait for those that carry packets (internal/background); while one waits, it
// still holds one of Go's processors, and packets need the others. Go no longer
// follows a limit of CPUs that is changed while the daemon runs.
func oneMoreProcessor(env *env) {
	if env.Getenv("GOMAXPROCS") != "" {
		return
	}
	runtime.SetDefaultGOMAXPROCS() // so that twice is not two more
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
}
