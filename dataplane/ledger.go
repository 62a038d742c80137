package dataplane

import (
	"slices"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
)

// claimsRest is how long claims.yaml rests after it was written, where only pod
// CIDRs are others: where each pod is one, every node would write and sync the whole
// file for every pod that comes or goes anywhere. A process that is killed forgets who
// had the pods of these seconds. Until the source tells anew, a guard counts them as the
// cluster's, which is dropped, or sends them, encrypted, where they were before; and who
// has given an address up no longer claims it, so that the old file keeps nobody out.
const claimsRest = 10 * time.Second

// ledger is what claims.yaml has, and what it is owed.
type ledger struct {
	stored keymgr.Claims
	owed   *keymgr.Claims // nil: nothing
	last   time.Time      // when it was last written anew, or could not be
}

// enter owes next to the file, and says whether that is due at once.
func (l *ledger) enter(next keymgr.Claims, now time.Time) bool {
	l.owed = &next
	return !podsAlone(l.stored, next) || l.rest(now) == 0
}

// rest is how long what is owed has time.
func (l *ledger) rest(now time.Time) time.Duration {
	since := now.Sub(l.last)
	if l.last.IsZero() || since < 0 { // the clock was set back
		return 0
	}
	return max(0, claimsRest-since)
}

// due has a value when what is owed has rested; it is nil where nothing is owed.
func (l *ledger) due(now time.Time) <-chan time.Time {
	if l.owed == nil {
		return nil
	}
	return time.After(l.rest(now))
}

// tried notes that what is owed was written, or could not be.
func (l *ledger) tried(written bool, now time.Time) {
	if !written || !slices.EqualFunc(l.stored.Nodes, l.owed.Nodes, keymgr.Node.Equal) {
		l.last = now
	}
	if written {
		l.stored, l.owed = *l.owed, nil
	}
}

// podsAlone says whether a and b are different, and in nothing but the pod CIDRs of
// the same nodes.
func podsAlone(a, b keymgr.Claims) bool {
	same := func(a, b keymgr.Node) bool {
		a.PodCIDRs, b.PodCIDRs = nil, nil
		return a.Equal(b)
	}
	return slices.EqualFunc(a.Nodes, b.Nodes, same) && !slices.EqualFunc(a.Nodes, b.Nodes, keymgr.Node.Equal)
}
