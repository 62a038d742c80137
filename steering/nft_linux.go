package steering

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// nftTimeout bounds the wait for an answer: the library waits for as many as it
	// has sent messages, and a kernel that refuses a batch as a whole sends one.
	nftTimeout = 10 * time.Second
	// nftBatch is how many elements go into one message, whose list of them may have
	// 64 KiB. Both elements of a range are in the same one.
	nftBatch = 500
	// nftBuffer is room for the batch of a table with some ten thousand peers.
	nftBuffer = 4 << 20
)

// errNoNftables is what a kernel without nf_tables, or a part of it, comes to.
var errNoNftables = errors.New("the kernel lacks nf_tables: CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and, before Linux 6.2, CONFIG_NFT_OBJREF (modules nf_tables, nft_objref)")

// nftHost is our table in this network namespace.
type nftHost struct {
	table *nftables.Table
	made  *nftEncoded // what set made of it last; nil before
	dial  func() (*nftables.Conn, error)
}

func (o Options) nft() nftHost {
	return nftHost{table: &nftables.Table{Name: nftName(o.Name), Family: nftables.TableFamilyINet}, dial: dialNft}
}

// String is the table's name as nft(8) takes it.
func (h nftHost) String() string { return "table inet " + h.table.Name }

func dialNft() (*nftables.Conn, error) {
	runtime.Gosched() // packets go first
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(nftBuffer), c.SetWriteBuffer(nftBuffer), c.SetDeadline(time.Now().Add(nftTimeout)))
	}))
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, errNoNftables
	}
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return conn, nil
}

// set makes the table the wanted one, in one transaction: where only elements or
// rules differ these alone, else all of it. To a packet that is one step, so there
// is no moment without rules. It says how much it changed, and whether somebody
// else had changed what it made before.
func (h *nftHost) set(want nftTable) (changed int, disturbed bool, err error) {
	encoded, err := want.encode(h.table)
	if err != nil {
		return 0, false, err
	}
	have, err := h.read()
	if err != nil {
		return 0, false, fmt.Errorf("read nftables %v: %w", h, err)
	}
	disturbed = h.made != nil && !h.asMade(have)
	if have.whole() {
		changed, err = h.commit(func(conn *nftables.Conn) (int, error) { return h.amend(conn, have.nftEncoded, encoded, want) })
	}
	if !have.whole() || err != nil { // somebody may have changed it since
		changed, err = h.commit(func(conn *nftables.Conn) (int, error) { return h.replace(conn, encoded, want) })
	}
	if err != nil {
		return 0, false, fmt.Errorf("set nftables %v: %w", h, err)
	}
	h.made = &encoded
	return changed, disturbed, nil
}

// disturbed says whether the table is other than set made it, or may be.
func (h *nftHost) disturbed() bool {
	have, err := h.read()
	return err != nil || h.made == nil || !h.asMade(have)
}

func (h *nftHost) asMade(have nftFound) bool { return have.whole() && have.equal(*h.made) }

// commit sends, as one transaction, what queue has queued.
func (h *nftHost) commit(queue func(*nftables.Conn) (int, error)) (changed int, err error) {
	conn, err := h.dial()
	if err != nil {
		return 0, err
	}
	defer conn.CloseLasting()
	changed, err = queue(conn)
	if err != nil || changed == 0 {
		return 0, err
	}
	return changed, explainNft(conn.Flush())
}

// amend changes elements and rules. A rule is not looked for one by one: both
// chains get all of theirs anew, which to a packet is one step as well.
func (h nftHost) amend(conn *nftables.Conn, have, encoded nftEncoded, want nftTable) (changed int, err error) {
	for _, s := range nftSets(h.table) {
		d := diff(have.sets[s.Name], encoded.sets[s.Name], false)
		s.ID = 0 // it is there already
		// Deleted first: a range may not overlap one that is there. Packets see both
		// at once.
		if err := inBatches(d.delete, s, conn.SetDeleteElements); err != nil {
			return 0, err
		}
		if err := inBatches(slices.Collect(maps.Keys(d.put)), s, conn.SetAddElements); err != nil {
			return 0, err
		}
		changed += len(d.delete) + len(d.put)
	}
	if have.sameRules(encoded) {
		return changed, nil
	}
	for _, c := range nftChains(h.table) {
		conn.FlushChain(c)
	}
	for _, r := range want.kernelRules(h.table) {
		conn.AddRule(r)
	}
	return changed + 1, nil
}

// replace puts the table in the place of what may be there under its name.
func (h nftHost) replace(conn *nftables.Conn, encoded nftEncoded, want nftTable) (changed int, err error) {
	conn.AddTable(h.table) // to delete one that is not there is an error
	conn.DelTable(h.table)
	conn.AddTable(h.table)
	names, _ := nftCounters()
	for _, name := range names {
		conn.AddObj(&nftables.CounterObj{Table: h.table, Name: name})
	}
	for _, s := range nftSets(h.table) {
		if err := conn.AddSet(s, nil); err != nil {
			return 0, err
		}
		elements := slices.Collect(maps.Keys(encoded.sets[s.Name]))
		if err := inBatches(elements, s, conn.SetAddElements); err != nil {
			return 0, err
		}
	}
	for _, c := range nftChains(h.table) {
		conn.AddChain(c)
	}
	for _, r := range want.kernelRules(h.table) {
		conn.AddRule(r)
	}
	return 1, nil
}

// inBatches calls send with as many elements as a message takes, until all are
// sent.
func inBatches(elements []nftElement, s *nftables.Set, send func(*nftables.Set, []nftables.SetElement) error) error {
	slices.SortFunc(elements, nftElement.compare)
	for some := range slices.Chunk(elements, nftBatch) {
		if err := send(s, kernelElements(some)); err != nil {
			return fmt.Errorf("encode the elements of nftables set %s: %w", s.Name, err)
		}
	}
	return nil
}

// remove deletes the table.
func (h nftHost) remove() error {
	_, err := h.commit(func(conn *nftables.Conn) (int, error) {
		conn.AddTable(h.table) // it may be gone by now
		conn.DelTable(h.table)
		return 1, nil
	})
	if err != nil {
		return fmt.Errorf("remove nftables %v: %w", h, err)
	}
	return nil
}

// explainNft says what is missing where the kernel refuses the table.
func explainNft(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (CAP_NET_ADMIN is needed)", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %w", errNoNftables, err)
	}
	return err
}
