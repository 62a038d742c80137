package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/wgsteer/wgsteer/dataplane"
)

// choice is what dataplane.ChooseBackend says.
type choice struct {
	chosen dataplane.Backend
	reason string
	err    error
}

func chooseBackend(configured dataplane.Backend) choice {
	chosen, reason, err := dataplane.ChooseBackend(configured)
	return choice{chosen, reason, err}
}

// checkBackend says what runs the tunnel, or would if auto were configured, and looks
// at what that needs.
func checkBackend(configured dataplane.Backend) []finding {
	configured = cmp.Or(configured, dataplane.Userspace)
	is := chooseBackend(configured)
	auto := is
	if configured != dataplane.Auto {
		auto = chooseBackend(dataplane.Auto)
	}
	f, tun := judgeBackend(configured, is, auto)
	if tun {
		return []finding{f, checkTUN()}
	}
	return []finding{f}
}

// judgeBackend is pure; tun is true where a userspace tunnel is to run.
func judgeBackend(configured dataplane.Backend, is, auto choice) (f finding, tun bool) {
	if is.err != nil {
		return finding{"backend", levelFail, strings.TrimPrefix(is.err.Error(), "backend: "), nil}, false
	}
	because := strings.TrimPrefix(auto.reason, "auto: ")
	detail := fmt.Sprintf("%s, configured (auto would choose %s: %s)", configured, auto.chosen, because)
	if configured == dataplane.Auto {
		detail = fmt.Sprintf("auto chooses %s: %s", is.chosen, because)
	}
	return finding{"backend", levelOK, detail, nil}, is.chosen == dataplane.Userspace
}
