//go:build !race

package kubee2e_test

const race = false
