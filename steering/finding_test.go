package steering

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	all := uint64(1<<capBPF | 1<<capNetAdmin)
	for _, test := range []struct {
		name  string
		got   []Finding
		level Level
		text  string
	}{
		{"new kernel", []Finding{judgeKernel("6.18.44-cloud")}, OK, "6.18.44"},
		{"oldest kernel", []Finding{judgeKernel("6.1.0-18-amd64")}, OK, "6.1.0"},
		{"old kernel", []Finding{judgeKernel("5.15.0")}, Warn, "older than 6.1"},
		{"odd kernel", []Finding{judgeKernel("odd")}, Warn, "cannot read"},
		{"capabilities", []Finding{judgeCapabilities(all)}, OK, ""},
		{"CAP_SYS_ADMIN for CAP_BPF", []Finding{judgeCapabilities(1<<capSysAdmin | 1<<capNetAdmin)}, OK, ""},
		{"no CAP_BPF", []Finding{judgeCapabilities(1 << capNetAdmin)}, Fail, "CAP_BPF missing"},
		{"none", []Finding{judgeCapabilities(0)}, Fail, "CAP_BPF and CAP_NET_ADMIN missing"},
		{"devices", judgeDevices(selection{targets: []target{{Device: Device{Name: "eth0", Reason: "default route"}}}}), OK, "eth0 (default route)"},
		{"no device", judgeDevices(selection{}), Warn, "no device leads"},
		{"unsteerable", judgeDevices(selection{targets: make([]target, 1), unsteerable: []Device{{Name: "mv0", Reason: "because"}}})[1:], Warn, "mv0 cannot be steered: because"},
		{"foreign", judgeForeign(hook{2, false}, "eth0", beforeLastOfOurs([]string{"x", "", "y", "", "z"})), Warn, "on the egress of eth0, ahead of ours: x, y; what they redirect or accept is not steered"},
		{"foreign ingress", judgeForeign(hook{2, true}, "eth0", []string{"x"}), Warn, "on the ingress of eth0, ahead of ours: x; what they redirect or accept is not guarded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if len(test.got) != 1 {
				t.Fatalf("want one finding, got %+v", test.got)
			}
			f := test.got[0]
			if f.Level != test.level || !strings.Contains(f.Detail, test.text) {
				t.Errorf("got %+v, want %s with %q", f, test.level, test.text)
			}
			if (f.Mend == "") != (f.Level == OK) {
				t.Errorf("level %s, and how to mend it: %q", f.Level, f.Mend)
			}
		})
	}
	if f := judgeForeign(hook{2, false}, "eth0", beforeLastOfOurs([]string{"", "x"})); f != nil {
		t.Errorf("nobody is ahead; got %+v", f)
	}
}

func TestSlotOf(t *testing.T) {
	for _, s := range []slot{{hook{2, false}, roleSteer}, {hook{4711, true}, roleGuard}, {hook{2, false}, ""}, {hook{2, true}, "newer"}} {
		if got, ok := slotOf(s.pin()); !ok || got != s {
			t.Errorf("%s: got %+v, %v", s.pin(), got, ok)
		}
	}
	for _, pin := range []string{"", "2", "2-", "2-egress-", "x-egress-guard", "02-egress-guard", "2-sideways-guard"} {
		if s, ok := slotOf(pin); ok {
			t.Errorf("%q was taken for %+v", pin, s)
		}
	}
}
