package vmtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFollow(t *testing.T) {
	up, out, end := Event{Up: "6.1"}, Event{Output: []byte("out\n")}, Event{Ended: &Ended{Exit: 3}}
	file := Event{File: &File{Path: "/tmp/f", Data: []byte("x")}}
	// The clock moves by a second each time it is looked at.
	result := Result{Ended: Ended{Exit: 3}, Output: []byte("out\nout\n"), Files: map[string][]byte{"/tmp/f": []byte("x")}, Took: time.Second}
	for _, tt := range []struct {
		name     string
		events   []Event
		after    string // what comes behind them
		commands int
		want     Report
		problem  string
	}{
		{"nothing to do", []Event{up}, "", 0, Report{Release: "6.1", Boot: time.Second}, ""},
		{"a command", []Event{up, out, out, file, end}, "", 1, Report{"6.1", time.Second, []Result{result}}, ""},
		{"off before the end", []Event{up, out}, "", 1, Report{Release: "6.1", Boot: time.Second}, "it ended in command 1 of 1; so far:\nout\n"},
		{"off between", []Event{up, out, out, file, end}, "", 2, Report{"6.1", time.Second, []Result{result}}, "it ended in command 2 of 2; so far:\n"},
		{"no guest", nil, "", 1, Report{}, "it never came to process 1"},
		{"the guest gives up", []Event{up, {Failed: "no module x"}}, "", 1, Report{Release: "6.1", Boot: time.Second}, "no module x"},
		{"no event", []Event{up}, "Kernel panic", 1, Report{Release: "6.1", Boot: time.Second}, "read an event: invalid character 'K' looking for beginning of value"},
		{"cut off", []Event{up}, `{"Command":`, 1, Report{Release: "6.1", Boot: time.Second}, "read an event: unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			for _, e := range tt.events {
				if err := json.NewEncoder(&text).Encode(e); err != nil {
					t.Fatal(err)
				}
			}
			looks := 0
			got, err := follow(strings.NewReader(text.String()+tt.after), tt.commands, func() time.Duration {
				looks++
				return time.Duration(looks) * time.Second
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			problem := ""
			if err != nil {
				problem = err.Error()
			}
			if problem != tt.problem {
				t.Errorf("got error %q, want %q", problem, tt.problem)
			}
		})
	}
}

func TestTail(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""}, {"a\n", "a\n"}, {"a\nb\nc", "b\nc"}, {"a\nb\nc\n", "c\n"},
	} {
		if got := tail(tt.text, 2); got != tt.want {
			t.Errorf("tail(%q, 2) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
