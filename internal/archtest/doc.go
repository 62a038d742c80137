// Package archtest is the import table of ARCHITECTURE.md as a test: which
// package of this module may import which, and which third-party modules belong
// to one place alone. It also holds the cheap rules of the house: no package
// named after nothing, and every package says what it is.
//
// The rules are data (table.go), the judgement is a function from packages to
// complaints (rules.go), and the test reads the packages. Nothing imports this
// package.
package archtest
