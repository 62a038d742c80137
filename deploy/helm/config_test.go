package helm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfiguration: the daemon takes the configuration of every set of values.
func TestConfiguration(t *testing.T) {
	dir := t.TempDir()
	binary, file := filepath.Join(dir, "wgsteer"), filepath.Join(dir, "config.yaml")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/wgsteer").CombinedOutput(); err != nil {
		t.Fatalf("build wgsteer: %v\n%s", err, out)
	}
	// complaint is what it has against a configuration; whether a daemon runs is not asked.
	complaint := func(config string) string {
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "status", "--config", file)
		cmd.Env = append(os.Environ(), "NODE_NAME=node-a")
		out, _ := cmd.CombinedOutput()
		if strings.Contains(string(out), file) {
			return string(out)
		}
		return ""
	}
	for name, values := range valueSets(t) {
		config := data(t, render(t, values), "wgsteer")["config.yaml"]
		if config == "" {
			t.Errorf("%s: no configuration was rendered", name)
		}
		if c := complaint(config); c != "" {
			t.Errorf("%s: %s\n%s", name, c, config)
		}
		if c := complaint(config + "\nunknown: field\n"); !strings.Contains(c, "unknown field") {
			t.Errorf("%s: an unknown field is not told: %q", name, c)
		}
	}
}
