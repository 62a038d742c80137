package kube_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
)

// writes is how many requests that change records the API server has counted.
func (b *bench) writes(t *testing.T) (total int) {
	t.Helper()
	body, err := b.Discovery().RESTClient().Get().AbsPath("/metrics").Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	counted := regexp.MustCompile(`(?m)^apiserver_request_total\{.*resource="wireguardnodes".*verb="(APPLY|CREATE|DELETE|PATCH|POST|PUT|UPDATE)".*\} (\d+)$`)
	for _, m := range counted.FindAllSubmatch(body, -1) {
		n, err := strconv.Atoi(string(m[2]))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

func owner(t *testing.T, b *bench, name string) []metav1.OwnerReference {
	t.Helper()
	n, err := b.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: n.UID}}
}

// The own record: written once there is a Node, owned by it, mended, and not written
// without a cause.
func testPublish(t *testing.T, b *bench) {
	self := node("node-a", 1)
	r := run(t, b.Admin(), kube.Options{Self: "node-a"})
	if err := r.Publish(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the missing Node", func(s keymgr.Snapshot) bool { return told(s, "node-a", "set NODE_NAME") && s.Local == nil })
	if b.get(t, "node-a") != nil {
		t.Fatal("there is a record without a Node")
	}
	right := func(n keymgr.Node) func() bool {
		return func() bool {
			got := b.get(t, "node-a")
			return got != nil && got.Spec.PublicKeys[0].Key == n.PublicKey.String() && len(got.Spec.Endpoints) == len(n.NodeIPs) &&
				got.Spec.PersistentKeepalive != "7s" && cmp.Equal(got.OwnerReferences, owner(t, b, "node-a"))
		}
	}
	b.makeNode(t, "node-a", 1)
	eventually(t, "the record", right(self))
	s := r.await(t, "the own record", func(s keymgr.Snapshot) bool { return names(s) == "node-a" && len(s.Problems) == 0 })
	if want := podCIDR(1); s.Local == nil || len(s.Local.PodCIDRs) != 1 || s.Local.PodCIDRs[0].String() != want {
		t.Errorf("local: %+v, want %s", s.Local, want)
	}

	t.Run("unchanged", func(t *testing.T) { testUnchanged(t, b, r, self) })

	if err := b.Discovery().RESTClient().Delete().AbsPath(recordsPath, "node-a").Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record after it was deleted", right(self))

	patch := `{"spec":{"publicKeys":[{"key":"` + key(99).String() + `","state":"Active"}],"persistentKeepalive":"7s"}}`
	if err := b.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(recordsPath, "node-a").Body([]byte(patch)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record as it was", right(self))

	self.PublicKey = key(2)
	if err := r.Publish(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key", right(self))

	// The Node goes and comes back: garbage collection would remove the record of the
	// old uid.
	if err := b.CoreV1().Nodes().Delete(t.Context(), "node-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.makeNode(t, "node-a", 7)
	eventually(t, "the record owned by the new Node", right(self))
	b.DeleteNode(t, "node-a")
	r.await(t, "the missing Node", func(s keymgr.Snapshot) bool {
		return told(s, "node-a", "set NODE_NAME") && s.Local.Equal(&keymgr.Local{PodCIDRs: []netip.Prefix{netip.MustParsePrefix(podCIDR(7))}})
	})
	b.makeNode(t, "node-a", 8)
	eventually(t, "the record of the new Node", right(self))
	if err := r.Publish(t.Context(), node("node-b", 1)); err == nil {
		t.Error("another node's record was accepted")
	}
}

// testUnchanged has new sources, heartbeats and the same record published again, and
// looks at what the API server counted.
func testUnchanged(t *testing.T, b *bench, r *running, self keymgr.Node) {
	before := b.writes(t)
	second := run(t, b.Admin(), kube.Options{Self: "node-a"})
	for range 3 {
		for _, r := range []*running{r, second} {
			if err := r.Publish(t.Context(), self); err != nil {
				t.Fatal(err)
			}
		}
		n, err := b.CoreV1().Nodes().Get(t.Context(), "node-a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n.Labels["beat"] = time.Now().Format("150405.000000000")
		if _, err := b.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	second.await(t, "the own record", func(s keymgr.Snapshot) bool { return names(s) == "node-a" && !s.Partial })
	second.stop()
	if after := b.writes(t); after != before || before == 0 {
		t.Errorf("%d writes, then %d: an unchanged cluster has none, and the record was written before", before, after)
	}
}

// A status is written once, and again when it is another.
func testStatus(t *testing.T, b *bench) {
	b.makeNode(t, "node-a", 1)
	r := run(t, b.Admin(), kube.Options{Self: "node-a"})
	status := v1alpha1.WireGuardNodeStatus{Backend: "userspace", TunnelMTU: 1420, Conditions: []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Starting"},
	}}
	publish := func() {
		t.Helper()
		if err := r.PublishStatus(t.Context(), status); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	if err := r.Publish(t.Context(), node("node-a", 1)); err != nil {
		t.Fatal(err)
	}
	var first *v1alpha1.WireGuardNode
	eventually(t, "the status", func() bool {
		first = b.get(t, "node-a")
		return first != nil && first.Status.Backend == "userspace" && len(first.Status.Conditions) == 1
	})
	before := b.writes(t)
	status.Conditions[0].LastTransitionTime = metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
	publish() // the same but for the time
	status.Problems = []v1alpha1.Problem{{Node: "node-b", Message: "wrong"}}
	publish()
	eventually(t, "the problem", func() bool { return len(b.get(t, "node-a").Status.Problems) == 1 })
	if after := b.writes(t); after != before+1 {
		t.Errorf("%d writes for one change", after-before)
	}
	got := b.get(t, "node-a")
	if diff := cmp.Diff(first.Status.Conditions, got.Status.Conditions); diff != "" {
		t.Errorf("a condition that did not change (-before +after):\n%s", diff)
	}
	status.Problems = nil
	publish()
	eventually(t, "no problem", func() bool { return len(b.get(t, "node-a").Status.Problems) == 0 })
	if len(got.Spec.PublicKeys) != 1 {
		t.Errorf("the status took the spec along: %+v", got.Spec)
	}
}

// Two hosts with one node's name undo what the other wrote, each every 5 s at most.
// They may do so within a millisecond: every write is looked at, not what is there at
// some moment.
func testTwoHosts(t *testing.T, b *bench) {
	b.makeNode(t, "node-a", 1)
	turns := b.keys(t)
	before, start := b.writes(t), time.Now()
	for i := range 2 {
		if err := run(t, b.Admin(), kube.Options{Self: "node-a"}).Publish(t.Context(), node("node-a", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	last := turns()
	for range 3 {
		next := turns()
		if next == last || next != key(1).String() && next != key(2).String() {
			t.Errorf("key %s came after %s", next, last)
		}
		last = next
	}
	// Each of the two: at once, and then every 5 s.
	n, elapsed := b.writes(t)-before, time.Since(start)
	if most := 2 * (1 + int(elapsed/(5*time.Second))); n > most {
		t.Errorf("%d writes in %s; %d are the most", n, elapsed, most)
	}
}

// keys watches records, and returns what waits for the next that is written, and says
// its key.
func (b *bench) keys(t *testing.T) (next func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	stream, err := b.Discovery().RESTClient().Get().AbsPath(recordsPath).Param("watch", "true").Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	events := json.NewDecoder(stream)
	return func() string {
		t.Helper()
		var e struct{ Object v1alpha1.WireGuardNode }
		if err := events.Decode(&e); err != nil || len(e.Object.Spec.PublicKeys) == 0 {
			t.Fatalf("watch records: %+v, %v", e.Object, err)
		}
		return e.Object.Spec.PublicKeys[0].Key
	}
}
