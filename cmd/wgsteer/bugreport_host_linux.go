package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hostFacts are what is around wgsteer; each is named here, so that nothing else of
// the host gets into a bug report.
type hostFacts struct {
	Time        time.Time         `json:"time"`
	Kernel      string            `json:"kernel"` // as uname -srvm
	System      map[string]string `json:"system"` // of os-release
	CPUs        int               `json:"cpus"`
	UID         int               `json:"uid"`
	Environment map[string]string `json:"environment"`
	Namespaces  map[string]string `json:"namespaces"`
	Files       map[string]string `json:"files"` // of /proc and /sys, or why not
	Modules     map[string]bool   `json:"modules"`
	Paths       []string          `json:"paths"` // mode, size and time, no content
}

var (
	hostEnvironment = []string{"NODE_NAME", "LOG_LEVEL", "GOMAXPROCS", "GOMEMLIMIT", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"}
	hostSystem      = []string{"PRETTY_NAME", "ID", "VERSION_ID"}
	hostModules     = []string{"nf_tables", "wireguard", "tun", "veth", "sch_ingress", "cls_bpf", "br_netfilter", "vxlan", "geneve", "ipip"}
	hostFiles       = []string{
		"/proc/uptime", "/proc/loadavg", "/sys/kernel/security/lsm", "/sys/module/apparmor/parameters/enabled",
		"/proc/self/attr/current", "/proc/self/cgroup",
		"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/cpu.max",
		"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/disable_ipv6",
		"/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv4/conf/default/rp_filter", "/proc/sys/net/ipv4/conf/all/src_valid_mark",
		"/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max", "/proc/sys/net/core/netdev_max_backlog",
		"/proc/sys/net/core/bpf_jit_enable", "/proc/sys/kernel/unprivileged_bpf_disabled", "/proc/sys/net/ipv4/tcp_mtu_probing",
		"/proc/net/softnet_stat", "/proc/net/snmp",
	}
	// hostLines are files of which some lines alone are told, by how these start.
	hostLines = map[string][]string{
		"/proc/meminfo":     {"MemTotal:", "MemAvailable:"},
		"/proc/self/status": {"CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"},
	}
)

func (r *bugreport) host() hostFacts {
	f := hostFacts{
		Time: r.now, Kernel: kernelName(), CPUs: runtime.NumCPU(), UID: os.Geteuid(),
		System: map[string]string{}, Environment: map[string]string{}, Namespaces: map[string]string{},
		Files: map[string]string{}, Modules: map[string]bool{},
	}
	for _, name := range hostEnvironment {
		if v := r.env.Getenv(name); v != "" {
			f.Environment[name] = v
		}
	}
	for line := range strings.Lines(factOf("/etc/os-release")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && slices.Contains(hostSystem, name) {
			f.System[name] = strings.Trim(value, `"`)
		}
	}
	for _, ns := range []string{"net", "mnt", "pid", "user"} {
		f.Namespaces[ns], _ = os.Readlink("/proc/self/ns/" + ns)
	}
	for _, path := range append(hostFiles, "/proc/sys/net/ipv4/conf/"+r.config.Plane.Interface+"/rp_filter") {
		f.Files[path] = factOf(path)
	}
	for path, starts := range hostLines {
		f.Files[path] = linesOf(factOf(path), starts)
	}
	for _, m := range hostModules {
		_, err := os.Stat("/sys/module/" + m)
		f.Modules[m] = err == nil
	}
	f.Paths = r.paths()
	return f
}

// paths are what wgsteer has and needs on the file system.
func (r *bugreport) paths() []string {
	var found []string
	for _, path := range []string{"/dev/net/tun", r.file, r.config.Plane.BPFFS, uapiDirectory} {
		found = append(found, pathFact(path))
	}
	for _, dir := range []string{r.config.Plane.StateDir, r.config.RunDir} {
		found = append(found, pathFact(dir))
		entries, _ := os.ReadDir(dir) // why not, the line before says
		for _, e := range entries[:min(len(entries), 100)] {
			found = append(found, pathFact(filepath.Join(dir, e.Name())))
		}
	}
	return found
}

func pathFact(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%s %s %d bytes, %s", path, info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339))
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) == nil {
		text += fmt.Sprintf(", file system %#x, %d kB free", fs.Type, fs.Bavail*uint64(fs.Bsize)/1024)
	}
	return text
}

// factOf is the start of a small file, or why it cannot be read.
func factOf(path string) string {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "(does not exist)"
	case err != nil:
		return "(" + err.Error() + ")"
	}
	text = bytes.TrimRight(text, "\n\x00")
	return string(text[:min(len(text), 16<<10)])
}

// linesOf are the lines of a text that start so.
func linesOf(text string, starts []string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if slices.ContainsFunc(starts, func(s string) bool { return strings.HasPrefix(line, s) }) {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	return strings.Join(kept, "; ")
}

func kernelName() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return strings.Join([]string{
		unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]),
	}, " ")
}
