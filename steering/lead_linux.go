package steering

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/link"
)

// A program of somebody else's that is ahead of ours, in tcx or, where there is clsact alone,
// among its filters, and accepts or redirects a packet keeps it from ours: it leaves in
// plaintext. Who attaches to the head after us is there, and of tcx the kernel tells nobody.
// So ours go back to the head; but ahead of each other program once alone, lest two that
// both want to be first take turns for ever.

// lead puts ours at the head of the chains that attachments are in. That another stays
// ahead is no failure, but Status tells.
func (s *Steering) lead(attachments []attachment) error {
	var errs []error
	for _, ingress := range []bool{false, true} {
		var ours []attachment // the guard first
		hold := ""            // the program that stands in while they move, where there is one
		for _, at := range attachments {
			switch {
			case at.ingress != ingress:
			case at.role == roleBackstop:
				hold = at.program
			case s.attacher.leads(at.slot):
				ours = append(ours, at)
			}
		}
		if len(ours) > 0 {
			errs = append(errs, s.leadChain(ours, hold))
		}
	}
	return errors.Join(errs...)
}

func (s *Steering) leadChain(ours []attachment, hold string) error {
	h, a := ours[0].hook, s.attacher
	ahead, err := a.ahead(h)
	if err != nil || len(ahead) == 0 {
		return err
	}
	where := fmt.Sprintf("the %s of %s", h.direction(), ours[0].name)
	others := strings.Join(ahead, ", ")
	if !a.newcomers(h, ahead) {
		s.lack("head of "+where, fmt.Errorf("on %s, ahead of ours again: %s; what they redirect or accept is neither encrypted nor dropped: %s", where, others, a.behind()))
		return nil
	}
	s.options.Logger.Warn("others' programs came ahead of ours, which go back to the head", "device", ours[0].name, "direction", h.direction(), "programs", others)
	changed, err := a.toHead(ours, s.objects.programs, hold)
	if err != nil {
		return s.wrote(changed, fmt.Errorf("put ours on %s ahead of %s: %w", where, others, err))
	}
	a.overtook[h] = append(a.overtook[h], ahead...)
	for _, at := range ours {
		s.repairs.stand(part{layer: layerProgram, name: at.String(), device: at.device}, true, s.options.Now())
	}
	return s.wrote(changed, nil)
}

// leads says whether one of ours is in a slot whose place in the chain counts.
func (a *attacher) leads(s slot) bool {
	if a.mechanism == mechanismClsact {
		return a.filters[s] && s.role != roleBackstop
	}
	return a.held[s] != nil
}

// behind is how others let ours have their packets.
func (a *attacher) behind() string {
	if a.mechanism == mechanismClsact {
		return fmt.Sprintf("let them return TC_ACT_UNSPEC, or be filters of a priority greater than %d", filterPriority)
	}
	return "let them return TCX_NEXT, or attach after ours"
}

// ahead names the programs of others that come before the last of ours in a chain.
func (a *attacher) ahead(h hook) ([]string, error) {
	if a.mechanism == mechanismClsact {
		chain, err := filterChain(h, a.owner)
		return beforeLastOfOurs(chain), err
	}
	own := map[link.ID]bool{}
	for s, l := range a.held {
		if s.hook != h {
			continue
		}
		info, err := l.Info()
		if err != nil {
			return nil, fmt.Errorf("ask for link %s: %w", s.pin(), err)
		}
		own[info.ID] = true
	}
	chain, err := tcxChain(h, own)
	return beforeLastOfOurs(chain), err
}

// newcomers says whether ours have not been put ahead of one of these before.
func (a *attacher) newcomers(h hook, programs []string) bool {
	return slices.ContainsFunc(programs, func(p string) bool { return !slices.Contains(a.overtook[h], p) })
}

// overtaken says whether a newcomer is ahead of ours somewhere.
func (a *attacher) overtaken() bool {
	looked := map[hook]bool{}
	for _, s := range slices.Concat(slices.Collect(maps.Keys(a.held)), slices.Collect(maps.Keys(a.filters))) {
		if looked[s.hook] || !a.leads(s) {
			continue
		}
		looked[s.hook] = true
		if ahead, err := a.ahead(s.hook); err == nil && a.newcomers(s.hook, ahead) {
			return true
		}
	}
	return false
}

// toHead puts ours at the head of their chain, in their order; those of tcx by taking them
// out of it. Meanwhile hold, which drops all that would be encrypted or dropped, is there.
func (a *attacher) toHead(ours []attachment, programs map[string]program, hold string) (changed int, err error) {
	if a.mechanism == mechanismClsact {
		return a.filtersToHead(ours, programs)
	}
	if hold != "" {
		h := ours[0].hook
		l, err := link.AttachTCX(link.TCXOptions{Interface: h.device, Program: programs[hold].Program, Attach: h.attachType(), Anchor: link.Head()})
		if err != nil {
			return 0, err
		}
		defer l.Close()
	}
	var errs []error
	for _, step := range []func(attachment) (int, error){
		func(at attachment) (int, error) { return a.detachTCX(at.slot) },
		func(at attachment) (int, error) { return a.attachTCX(at.slot, programs[at.program]) },
	} {
		for _, at := range ours {
			n, err := step(at)
			changed += n
			errs = append(errs, err)
		}
	}
	return changed, errors.Join(errs...)
}
