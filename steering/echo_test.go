package steering

import "testing"

func TestEchoes(t *testing.T) {
	pods := routeKey{cidrs("10.244.2.0/24")[0], metricPods}
	guard := routeKey{cidrs("10.244.0.0/16")[0], metricUnreachable}
	tunnel := routeTarget{device: 7, source: addrs("192.0.2.1")[0]}
	want := map[routeKey]routeTarget{pods: tunnel, guard: {}}
	other := routeKey{cidrs("10.244.3.0/24")[0], metricPods}
	for _, test := range []struct {
		name  string
		event routeEvent
		want  bool
	}{
		{"a wanted one came", routeEvent{key: pods, target: tunnel}, true},
		{"an unreachable one came", routeEvent{key: guard}, true},
		{"it came, and leads to another device", routeEvent{key: pods, target: routeTarget{device: 8, source: tunnel.source}}, false},
		{"it came, with another source", routeEvent{key: pods, target: routeTarget{device: 7}}, false},
		{"it came, unreachable", routeEvent{key: pods}, false},
		{"one that is not wanted came", routeEvent{key: other, target: tunnel}, false},
		{"a wanted one with another metric came", routeEvent{key: routeKey{pods.dst, metricUnreachable}, target: tunnel}, false},
		{"one that is not wanted went", routeEvent{key: other, target: tunnel, gone: true}, true},
		{"a wanted one went", routeEvent{key: pods, target: tunnel, gone: true}, false},
		{"one with a wanted key went that led elsewhere", routeEvent{key: pods, gone: true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.event.echoes(want); got != test.want {
				t.Errorf("echoes: %v, want %v", got, test.want)
			}
		})
	}
	if (routeEvent{key: pods, target: tunnel}).echoes(nil) {
		t.Error("before the first reconciliation all is news")
	}
}
