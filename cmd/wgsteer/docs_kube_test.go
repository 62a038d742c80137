package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wgsteer/wgsteer/internal/labtest"
)

// What docs/kubernetes.md has users type of wgsteer's own is there, with its flags, and
// what it sets is a value of the chart. What it does, package internal/kubee2e shows.
func TestKubernetesDocCommands(t *testing.T) {
	blocks := labtest.ShellBlocks(t, "../../docs/kubernetes.md")
	for _, want := range []string{"install", "permissive", "observe", "strict", "verify", "wire", "rotate", "remove"} {
		if len(blocks[want]) == 0 {
			t.Errorf("no block `sh %s`", want)
		}
	}
	e, _, _ := testEnv()
	values, err := os.ReadFile("../../deploy/helm/wgsteer/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	commands, settings := 0, 0
	for name, texts := range blocks {
		for _, text := range texts {
			for _, m := range regexp.MustCompile(`-- wgsteer ([^\n]*)`).FindAllStringSubmatch(text, -1) {
				checkCommand(t, e, name, strings.Fields(m[1]))
				commands++
			}
			for _, m := range regexp.MustCompile(`--set '?([A-Za-z0-9.]+)=`).FindAllStringSubmatch(text, -1) {
				var value any
				path, err := yaml.PathString("$." + m[1])
				if err == nil {
					err = path.Read(bytes.NewReader(values), &value)
				}
				if err != nil {
					t.Errorf("%s: the chart has no value %s: %v", name, m[1], err)
				}
				settings++
			}
		}
	}
	if commands < 5 || settings < 5 {
		t.Errorf("%d commands, %d values: does this test still find them?", commands, settings)
	}
}

// checkCommand parses a command line without running it.
func checkCommand(t *testing.T, e *env, block string, args []string) {
	t.Helper()
	cmd, rest, err := newRootCommand(e).Find(args)
	if err != nil || !cmd.Runnable() {
		t.Errorf("%s: wgsteer %v is no command: %v", block, args, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: wgsteer %v: %v", block, args, err)
	}
}
