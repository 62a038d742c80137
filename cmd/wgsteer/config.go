package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/keymgr"
)

// The defaults of what is not dataplane's.
const (
	defaultConfigFile = "/etc/wgsteer/config.yaml"
	defaultRunDir     = "/run/wgsteer"
	defaultDirectory  = "/etc/wgsteer/nodes"
	defaultMetrics    = "127.0.0.1:9587"
)

// maxConfigSize is far above any real file, in bytes. The YAML parser recurses
// and takes its time with what is nested deeply: 1 MB of brackets took minutes
// (goccy/go-yaml v1.19.2).
const maxConfigSize = 64 << 10

// configuration is a configuration file, validated and with its defaults. Raw
// is document.
type configuration struct {
	// File is where it was read from.
	File string
	// Plane has no Source and no Logger yet; see plane.
	Plane dataplane.Config
	// RunDir holds the control socket and the lock.
	RunDir string
	// Directory holds the node records; "" with Kubernetes.
	Directory string
	// Kubernetes has the node records, unless it is nil.
	Kubernetes *kubernetesConfig
	// Cluster is what was found of it; nil while nothing was, or had to be.
	Cluster *foundCluster
	// Metrics is the address to listen on, "" for none.
	Metrics string
	Log     logConfig
}

type logConfig struct {
	Level slog.Level
	JSON  bool
}

// loadConfig reads and validates a file. On error, which is a usageError, the
// configuration holds what could be understood and defaults for the rest: good
// enough to find a running daemon, not to start one.
func loadConfig(env *env, path string) (configuration, error) {
	hostname, err := env.Hostname()
	if err != nil {
		return configuration{}, fmt.Errorf("find the host name: %w", err)
	}
	names := nodeNames{host: hostname, kubernetes: env.Getenv(nodeNameVariable)}
	text, err := readConfigFile(path)
	if err != nil {
		c, _ := parseConfig(path, nil, names)
		return c, usageError{err}
	}
	c, err := parseConfig(path, text, names)
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// findConfig is for verbs that talk to a running daemon: a file that is broken,
// or the default one that is missing, still tells where to find it. What is
// wrong is said on stderr.
func (e *env) findConfig(path string) configuration {
	c, err := loadConfig(e, path)
	if err != nil && (path != defaultConfigFile || !errors.Is(err, fs.ErrNotExist)) {
		fmt.Fprintf(e.Stderr, "wgsteer: %v\n", err)
	}
	return c
}

// missingConfig says that there is no configuration file.
type missingConfig struct{ path string }

func (e missingConfig) Error() string {
	return fmt.Sprintf("configuration file %s does not exist; write one (deploy/wgsteer.example.yaml explains every field) or name another with --config", e.path)
}

func (e missingConfig) Is(target error) bool { return target == fs.ErrNotExist }

func readConfigFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingConfig{path}
	}
	if err != nil {
		return nil, fmt.Errorf("open the configuration file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	if len(text) > maxConfigSize {
		return nil, fmt.Errorf("configuration file %s is longer than %d bytes; is it the right one?", path, maxConfigSize)
	}
	return text, nil
}

// socketPath is where the daemon that runs this configuration listens.
func (c configuration) socketPath() string { return c.runPath(".sock") }

// lockPath is the file that the daemon keeps locked while it lives.
func (c configuration) lockPath() string { return c.runPath(".lock") }

func (c configuration) runPath(suffix string) string {
	return filepath.Join(c.RunDir, c.Plane.Interface+suffix)
}

// forceClsact is "true" where tests have the linker set it, to see on a kernel that
// has tcx what older ones do: go build -ldflags '-X main.forceClsact=true'.
var forceClsact string

// plane is what the data plane is made of, with the records of source. Making it
// starts nothing.
func (c configuration) plane(log *slog.Logger, source keymgr.Source) dataplane.Config {
	p := c.Plane
	p.ForceClsact = forceClsact == "true"
	p.Logger = log
	p.Source = source
	return p
}
