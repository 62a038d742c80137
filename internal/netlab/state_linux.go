package netlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// state is what other processes know of a lab: everything but its owner follows
// from the options.
type state struct {
	Options Options `json:"options"`
	Owner   process `json:"owner"`
	// Detached labs outlive their owner.
	Detached bool `json:"detached"`
}

// process tells a process from a later one with the same number.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
}

// self is this process.
func self() (process, error) { return processOf(os.Getpid()) }

// processOf identifies a process that runs now; fs.ErrNotExist if none does.
func processOf(pid int) (process, error) {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if errors.Is(err, unix.ESRCH) { // it ended between open and read
		err = fs.ErrNotExist
	}
	if err != nil {
		return process{}, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	// proc_pid_stat(5): the second field is a name in parentheses that may hold
	// anything; the third is the state, the 22nd the start time.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("read the start time of process %d: odd stat %q", pid, stat)
	}
	if fields[0] == "Z" {
		return process{}, fmt.Errorf("process %d has ended: %w", pid, fs.ErrNotExist)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	return process{PID: pid, Start: start}, nil
}

// alive tells whether the process still runs.
func (p process) alive() bool {
	now, err := processOf(p.PID)
	return err == nil && now == p
}

func labDir(run string) string    { return filepath.Join(labsDir, run) }
func stateFile(run string) string { return filepath.Join(labDir(run), "lab.json") }

func readState(run string) (state, error) {
	var s state
	data, err := os.ReadFile(stateFile(run))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return state{}, fmt.Errorf("read the state of lab %s: %w", run, err)
	}
	return s, nil
}

// write replaces the state file at once.
func (s state) write() error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := stateFile(s.Options.Run)
	aside := path + ".new"
	err = os.WriteFile(aside, data, 0o600)
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		return fmt.Errorf("write the state of lab %s: %w", s.Options.Run, err)
	}
	return nil
}

// withLock calls fn while no other process makes or removes labs.
func withLock(fn func() error) error {
	if err := os.MkdirAll(labsDir, 0o755); err != nil {
		return fmt.Errorf("make the directory of labs: %w", err)
	}
	dir, err := os.Open(labsDir)
	if err != nil {
		return fmt.Errorf("lock the directory of labs: %w", err)
	}
	defer dir.Close()
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lock %s: %w", labsDir, err)
		}
		return fn()
	}
}

// Runs names the labs that exist, whoever owns them, sorted.
func Runs() ([]string, error) {
	entries, err := os.ReadDir(labsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var runs []string
	for _, e := range entries {
		if runName.MatchString(e.Name()) {
			runs = append(runs, e.Name())
		}
	}
	return runs, nil
}
