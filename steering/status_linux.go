package steering

import (
	"errors"
	"slices"
	"strings"
)

// show remembers what Status tells, and logs what of it is new.
func (s *Steering) show(devices []Attachment, tunnel Attachment, unsteerable []Device) {
	slices.SortFunc(devices, func(a, b Attachment) int { return strings.Compare(a.Name, b.Name) })
	log := s.options.Logger
	for _, d := range devices {
		if d.Error == "" && !slices.Contains(s.shown.Devices, d) {
			log.Info("device is steered", "device", d.Name, "reason", d.Reason, "mechanism", d.Mechanism)
		}
	}
	for _, d := range s.shown.Devices {
		if d.Error == "" && !slices.ContainsFunc(devices, func(a Attachment) bool { return a.Index == d.Index }) {
			log.Info("device is steered no longer", "device", d.Name)
		}
	}
	for _, d := range unsteerable {
		if !slices.Contains(s.shown.Unsteerable, d) {
			log.Warn("device cannot be steered", "device", d.Name, "reason", d.Reason)
		}
	}
	s.shown.Devices, s.shown.Tunnel, s.shown.Unsteerable = devices, tunnel, unsteerable
}

// tellRepairs logs what of the last reconciliation was a repair, and keeps it for
// Status.
func (s *Steering) tellRepairs() {
	for _, r := range s.repairs.fresh {
		s.options.Logger.Warn("put back what was taken away", "layer", r.Layer, "what", r.What, "times", r.Times)
	}
	if len(s.repairs.fresh) > 0 {
		s.shown.Repairs = s.repairs.list()
	}
}

// Status is steering at this moment: devices as of the last look, counters as of
// now. Before the first Apply, and after Close, it has no counters.
func (s *Steering) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.shown
	status.Devices = slices.Clone(status.Devices)
	status.Unsteerable = slices.Clone(status.Unsteerable)
	status.Repairs = slices.Clone(status.Repairs)
	if s.leaks != "" && status.Failing == "" {
		status.Failing = "not every way to other nodes is steered: " + s.leaks
	}
	if status.Failing == "" {
		status.Failing = s.lacking()
	}
	if s.objects == nil {
		return status
	}
	var errs [3]error
	status.Verdicts, errs[0] = s.look()
	status.Plaintext = s.shown.Plaintext
	names, err := s.objects.readNames()
	errs[1] = err
	status.Peers, errs[2] = s.objects.peerCounts(names)
	slices.SortFunc(status.Peers, func(a, b PeerCounts) int { return strings.Compare(a.Name, b.Name) })
	if err := errors.Join(errs[:]...); err != nil && status.Failing == "" {
		status.Failing = oneLine(err)
	}
	return status
}

// look reads the verdicts' counters, and remembers what of them is plaintext.
func (s *Steering) look() ([]Verdict, error) {
	verdicts, err := s.objects.verdicts()
	verdicts = append(verdicts, s.table.verdicts()...)
	if err == nil && s.state != nil {
		s.shown.Plaintext = s.shown.Plaintext.next(s.state.Strict, verdicts, s.options.Now())
	}
	return verdicts, err
}

// oneLine is the text of an error that may be several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
