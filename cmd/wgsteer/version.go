package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// buildVersion is what a binary knows of how it was built.
type buildVersion struct {
	Version  string `json:"version"`            // of the module, "(devel)" when built from a checkout
	Revision string `json:"revision,omitempty"` // of the repository
	Modified bool   `json:"modified,omitempty"` // the checkout had changes
	Time     string `json:"time,omitempty"`     // of the revision, RFC 3339
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Modules are the versions of what the data path is made of.
	Modules map[string]string `json:"modules"`
}

// version is set by the linker where a build knows better than the Go tool
// what it builds: go build -ldflags '-X main.version=v1.2.3'.
var version string

const (
	wireguardModule = "golang.zx2c4.com/wireguard"
	ebpfModule      = "github.com/cilium/ebpf"
)

// thisVersion describes this binary.
func thisVersion() buildVersion {
	info, ok := debug.ReadBuildInfo()
	v := readVersion(info, ok)
	if version != "" {
		v.Version = version
	}
	return v
}

// readVersion reads what the Go tool writes into a binary; without that (ok is
// false) the version is "unknown".
func readVersion(info *debug.BuildInfo, ok bool) buildVersion {
	v := buildVersion{
		Version:  "unknown",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Modules:  map[string]string{},
	}
	if !ok {
		return v
	}
	v.Version = info.Main.Version
	if v.Version == "" { // a test binary's
		v.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		case "vcs.time":
			v.Time = s.Value
		}
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Path == wireguardModule || m.Path == ebpfModule {
			v.Modules[m.Path] = m.Version
		}
	}
	return v
}

func newVersionCommand(env *env) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of wgsteer and of what it is made of",
		Example: "  wgsteer version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			return out.print(env.Stdout, v, v.table)
		},
	}
	out.addFlag(cmd)
	return cmd
}

func (v buildVersion) table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "wgsteer\t%s\n", v.Version)
	if v.Revision != "" {
		changed := ""
		if v.Modified {
			changed = ", with local changes"
		}
		fmt.Fprintf(tw, "revision\t%s (%s%s)\n", v.Revision, v.Time, changed)
	}
	for _, path := range []string{wireguardModule, ebpfModule} {
		if version := v.Modules[path]; version != "" {
			fmt.Fprintf(tw, "%s\t%s\n", path, version)
		}
	}
	fmt.Fprintf(tw, "go\t%s %s\n", v.Go, v.Platform)
	return tw.Flush()
}
