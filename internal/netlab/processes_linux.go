package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// endsWithin bounds the wait for killed processes.
	endsWithin = 30 * time.Second
	// showsWithin bounds the wait for a process that was forked by the lab, but
	// has not called execve yet, to show its own environment.
	showsWithin = 200 * time.Millisecond
)

// nsID tells namespaces apart, as namespaces(7) says.
type nsID struct{ dev, ino uint64 }

// endProcesses kills the processes that the lab started in its namespaces, and
// theirs, and waits for their end. Others are left alone and returned.
func endProcesses(run string, spaces []string) (strangers []string, err error) {
	ids := map[nsID]bool{}
	for _, path := range spaces {
		if id, err := namespaceOf(path); err == nil {
			ids[id] = true
		}
	}
	start := time.Now()
	for {
		ours, strangers, err := inhabitants(run, ids)
		waited := time.Since(start)
		switch {
		case err != nil:
			return nil, err
		case len(ours) == 0 && (len(strangers) == 0 || waited > showsWithin):
			return strangers, nil
		case waited > endsWithin:
			return strangers, fmt.Errorf("processes %v do not end within %v of SIGKILL", ours, endsWithin)
		case len(ours) == 0:
			time.Sleep(showsWithin / 20) // nothing tells of a foreign execve
		}
		if err := end(ours, func(pid int) bool { return inhabits(pid, ids) && marked(pid, run) }); err != nil {
			return strangers, err
		}
	}
}

// inhabitants lists the processes that are in one of the namespaces: those that
// the lab started, and the others with their names.
func inhabitants(run string, ids map[nsID]bool) (ours []int, strangers []string, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !inhabits(pid, ids) {
			continue
		}
		if marked(pid, run) {
			ours = append(ours, pid)
		} else if name, err := os.ReadFile(procFile(pid, "comm")); err == nil { // else it has just ended
			strangers = append(strangers, fmt.Sprintf("%d (%s)", pid, bytes.TrimSpace(name)))
		}
	}
	return ours, strangers, nil
}

// inhabits is false for a zombie: it has no namespace any more.
func inhabits(pid int, ids map[nsID]bool) bool {
	id, err := namespaceOf(procFile(pid, "ns/net"))
	return err == nil && ids[id]
}

// marked tells whether the lab started the process: see mark.
func marked(pid int, run string) bool {
	env, err := os.ReadFile(procFile(pid, "environ"))
	return err == nil && slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool {
		return string(v) == mark+"="+run
	})
}

// end kills those processes for which sure still holds once their numbers can
// no longer pass to others, and waits for their end, at most endsWithin each.
func end(pids []int, sure func(pid int) bool) error {
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open process %d: %w", pid, err)
		}
		defer unix.Close(fd)
		if !sure(pid) {
			continue
		}
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
		// A pidfd is readable when its process has ended; an interrupted wait
		// only makes the caller look again.
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(endsWithin.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the end of process %d: %w", pid, err)
		}
	}
	return nil
}

func namespaceOf(path string) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsID{}, err
	}
	return nsID{uint64(st.Dev), st.Ino}, nil
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }
