package steering

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/internal/privtest"
)

// TestWithoutNft: on a kernel that lacks it, all else is put up, and Status says
// what is missing.
func TestWithoutNft(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	o := Options{BPFFS: privtest.BPFFS(t), Name: "wgt0", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	dial := s.table.dial
	s.table.dial = func() (*nftables.Conn, error) { return nil, errNoNftables }
	apply := func(failing string) {
		t.Helper()
		if err := s.Apply(t.Context(), State{Strict: true, ClusterCIDRs: cidrs("10.244.0.0/16")}); err != nil {
			t.Errorf("apply: %v", err)
		}
		if got := s.Status().Failing; failing == "" && got != "" || !strings.Contains(got, failing) {
			t.Errorf("failing: %q, want %q", got, failing)
		}
	}
	apply("devices that are not steered are unguarded: read nftables table inet wgsteer-wgt0: the kernel lacks nf_tables")
	s.table.dial = dial // the module was loaded
	apply("")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Teardown(o); err != nil {
		t.Error(err)
	}
}

// TestSubscribeNft: changes of our table are told, and told from others'.
func TestSubscribeNft(t *testing.T) {
	if !privtest.Isolate(t) {
		return
	}
	h := Options{Name: "wgt0"}.nft()
	socket, err := subscribeNft()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		change   string // "": our own
		concerns bool
	}{
		{"", true},
		{"add table inet wgsteer-wgt01; add chain inet wgsteer-wgt01 c; add rule inet wgsteer-wgt01 c accept", false},
		{"add set inet wgsteer-wgt01 s { type ipv4_addr; elements = { 192.0.2.1 }; }", false},
		{"flush chain inet wgsteer-wgt0 unsteered_egress", true},
		{"add rule inet wgsteer-wgt0 unsteered_ingress drop", true},
		{"add element inet wgsteer-wgt0 steered { 77 }", true},
		{"delete element inet wgsteer-wgt0 remote_nodes4 { 192.168.0.0 }", true},
		{"add counter inet wgsteer-wgt0 more", true},
		{"delete table inet wgsteer-wgt01", false},
		{"flush ruleset", true},
	} {
		if test.change != "" {
			nftTool(t, test.change)
		} else if _, _, err := h.set(someState(1).nft(1)); err != nil {
			t.Fatal(err)
		}
		concerns := false
		for done := false; !done; { // the last message of a transaction tells of a new generation
			messages, _, err := socket.Receive()
			if err != nil {
				t.Fatalf("nft %s: not told: %v", test.change, err)
			}
			for _, m := range messages {
				concerns = concerns || h.concerns(m)
				done = done || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN
			}
		}
		if concerns != test.concerns {
			t.Errorf("nft %s: it concerns us: %v, want %v", test.change, concerns, test.concerns)
		}
	}
}
