package steering

import (
	"testing"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestNftGeneration: the table is read again only where somebody changed one.
func TestNftGeneration(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	h := Options{Name: "wgt0"}.nft()
	set := func(devices ...int) (changed int, disturbed bool) {
		t.Helper()
		changed, disturbed, err := h.set(someState(1).nft(devices...))
		if err != nil {
			t.Fatal(err)
		}
		return changed, disturbed
	}
	if set(1); h.at == 0 || h.at != nftGeneration() || h.disturbed() {
		t.Fatalf("generation %d, and the table as made at %d; disturbed: %v", nftGeneration(), h.at, h.disturbed())
	}
	at := h.at
	if changed, disturbed := set(1); changed != 0 || disturbed || h.at != at {
		t.Errorf("the same again: %d changes, disturbed: %v, generation %d after %d", changed, disturbed, h.at, at)
	}
	if changed, disturbed := set(1, 2); changed == 0 || disturbed || h.at != at+1 {
		t.Errorf("one more: %d changes, disturbed: %v, generation %d after %d", changed, disturbed, h.at, at)
	}
	nftTool(t, "add table inet foreign")
	if h.at == nftGeneration() || h.disturbed() {
		t.Error("a foreign table is not seen, or taken for ours")
	}
	nftTool(t, "add element inet wgsteer-wgt0 steered { 77 }")
	if !h.disturbed() {
		t.Error("a foreign element in our table is not seen")
	}
	if changed, disturbed := set(1, 2); changed == 0 || !disturbed || h.disturbed() {
		t.Errorf("a foreign element: %d changes, disturbed: %v, then %v", changed, disturbed, h.disturbed())
	}
}
