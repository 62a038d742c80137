package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// testEnv is a process with nothing but buffers.
func testEnv() (e *env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return &env{
		Stdin:    strings.NewReader(""),
		Stdout:   stdout,
		Stderr:   stderr,
		Getenv:   func(string) string { return "" },
		Hostname: func() (string, error) { return "some-host", nil },
		Signals:  func(...os.Signal) (<-chan os.Signal, func()) { return nil, func() {} },
		Notify:   func(string) error { return nil },
		Watchdog: func() (time.Duration, error) { return 0, nil },
	}, stdout, stderr
}

func TestExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		want   int
		stderr string
	}{
		"help":         {[]string{"--help"}, exitOK, ""},
		"version":      {[]string{"version"}, exitOK, ""},
		"unknown verb": {[]string{"versoin"}, exitUsage, "Did you mean this?\n\tversion"},
		"unknown flag": {[]string{"version", "--loud"}, exitUsage, "unknown flag: --loud\nTry 'wgsteer version --help'."},
		"flag's value": {[]string{"version", "-o", "xml"}, exitUsage, `"xml" is none of table, json, yaml`},
		"extra words":  {[]string{"version", "now"}, exitUsage, "Try 'wgsteer version --help'."},
	} {
		t.Run(name, func(t *testing.T) {
			e, _, stderr := testEnv()
			if got := run(t.Context(), tt.args, e); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
			if !strings.Contains(stderr.String(), tt.stderr) || (tt.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("stderr %q, want %q in it", stderr, tt.stderr)
			}
		})
	}
}
