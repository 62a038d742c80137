package vmtest

import "time"

// Where the guest finds its work, and what it writes its Events to.
const (
	JobPath    = "/job.json"
	EventsPath = "/dev/ttyS1" // the 8250 driver is built into Debian's kernels
)

// Job is what the guest does.
type Job struct {
	Modules  []Module  // what can be loaded; a module stands after those that it depends on
	Load     []string  // the names of those that are loaded before anything runs
	Commands []Command // run one after the other
}

// Module is a kernel module in the guest. The kernel asks for modules by name or
// by alias.
type Module struct {
	Name    string // with underscores
	Path    string
	Depends []string
	Aliases []string
}

// Command is a process in the guest. Its environment is a PATH, HOME and TMPDIR;
// Env, NAME=value, comes on top.
type Command struct {
	Args    []string // the first is a path
	Env     []string
	Dir     string        // the root directory where empty
	Timeout time.Duration // then it is killed, with all its children; 0 is none
	Collect []string      // patterns (path/filepath.Match) of files that are sent out when it has ended
}

// Event is what the guest tells, in the order in which it happens. Each has one
// part set beside Command.
type Event struct {
	Command int    // index in Job.Commands
	Up      string `json:",omitempty"` // init has begun: the kernel's release
	Output  []byte `json:",omitempty"` // of both standard output and standard error
	File    *File  `json:",omitempty"` // one of Collect
	Ended   *Ended `json:",omitempty"`
	Failed  string `json:",omitempty"` // the guest cannot go on: why
}

// Ended tells how a command went.
type Ended struct {
	Exit    int    // -1 where a signal ended it
	Problem string // why it could not be started, or was ended; empty otherwise
}

// File is a file of the guest, with what is in it.
type File struct {
	Path string
	Data []byte
}
