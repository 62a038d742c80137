package main

import (
	"runtime"
	"testing"
)

func TestOneMoreProcessor(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	runtime.SetDefaultGOMAXPROCS()
	processors := runtime.GOMAXPROCS(0)
	for _, tc := range []struct {
		name, environment string
		want              int
	}{
		{"as many as the environment says", "7", processors},
		{"one more than Go would have", "", processors + 1},
		{"no more the second time", "", processors + 1},
	} {
		oneMoreProcessor(&env{Getenv: func(name string) string {
			if name != "GOMAXPROCS" {
				t.Errorf("%s: asked for %s", tc.name, name)
			}
			return tc.environment
		}})
		if got := runtime.GOMAXPROCS(0); got != tc.want {
			t.Errorf("%s: %d processors, want %d", tc.name, got, tc.want)
		}
	}
}
