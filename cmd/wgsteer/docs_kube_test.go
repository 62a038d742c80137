package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// shellBlocks are the blocks of a document that begin with ```sh NAME, by name, in
// their order; those of one name belong together.
func shellBlocks(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range regexp.MustCompile("(?ms)^ *```sh (\\w+)\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	return blocks
}

// What docs/kubernetes.md has users type of wgsteer's own is there, with its flags. What
// it does, package internal/kubee2e shows.
func TestKubernetesDocCommands(t *testing.T) {
	blocks := shellBlocks(t, "../../docs/kubernetes.md")
	for _, want := range []string{"install", "permissive", "observe", "strict", "verify", "wire", "rotate", "remove"} {
		if len(blocks[want]) == 0 {
			t.Errorf("no block `sh %s`", want)
		}
	}
	e, _, _ := testEnv()
	commands := 0
	for name, texts := range blocks {
		for _, text := range texts {
			for _, m := range regexp.MustCompile(`-- wgsteer ([^\n]*)`).FindAllStringSubmatch(text, -1) {
				checkCommand(t, e, name, strings.Fields(m[1]))
				commands++
			}
		}
	}
	if commands < 5 {
		t.Errorf("%d commands: does this test still find them?", commands)
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
