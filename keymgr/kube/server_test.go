package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wgsteer/wgsteer/internal/kubetest"
	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/kube"
	"github.com/wgsteer/wgsteer/keymgr/kube/v1alpha1"
	"github.com/wgsteer/wgsteer/wgkey"
)

// One server for all: a start takes seconds of both cores.
func TestServer(t *testing.T) {
	s := kubetest.Start(t, kubetest.Options{})
	s.InstallCRD(t)
	client, err := kubernetes.NewForConfig(s.Admin())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{s, client}
	for _, c := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"publish", testPublish},
		{"follow", testFollow},
		{"burst", testBurst},
		{"wrong records", testWrongRecords},
		{"two hosts", testTwoHosts},
		{"status", testStatus},
		{"taint", testTaint},
		{"discover", testDiscover},
		{"pods", testPods},
		{"without rights", testWithoutRights},
		{"five hundred", testFiveHundred},
		{"outage", testOutage}, // the last: the server goes
	} {
		t.Run(c.name, func(t *testing.T) {
			defer b.clear(t)
			c.test(t, b)
		})
		awaitNoneLeft(t)
	}
}

// bench is the API server with its admin's client.
type bench struct {
	*kubetest.Server
	kubernetes.Interface
}

const recordsPath = "/apis/wgsteer.io/v1alpha1/wireguardnodes"

// clear removes all objects that tests make.
func (b *bench) clear(t *testing.T) {
	if err := b.CoreV1().Nodes().DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	if err := b.Discovery().RESTClient().Delete().AbsPath(recordsPath).Do(context.Background()).Error(); err != nil {
		t.Error(err)
	}
}

func key(n int) wgkey.PublicKey { return wgkey.PublicKey{byte(n), byte(n >> 8), 1} }

// node is what node number n publishes.
func node(name string, n int) keymgr.Node {
	ip := netip.AddrFrom4([4]byte{192, 168, byte(n >> 8), byte(n)})
	return keymgr.Node{Name: name, PublicKey: key(n), Endpoint: netip.AddrPortFrom(ip, 51871), NodeIPs: []netip.Addr{ip}}
}

// makeNode makes the Node number n.
func (b *bench) makeNode(t *testing.T, name string, n int) {
	t.Helper()
	b.CreateNode(t, name, []string{node(name, n).NodeIPs[0].String()}, []string{podCIDR(n)})
}

func podCIDR(n int) string { return fmt.Sprintf("10.%d.%d.0/24", 128+n>>8, n&255) }

// put makes a record as another node would, changed as the test likes.
func (b *bench) put(t *testing.T, name string, n int, change func(*v1alpha1.WireGuardNode)) error {
	t.Helper()
	ip := node(name, n).NodeIPs[0].String()
	r := v1alpha1.WireGuardNode{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.WireGuardNodeSpec{
			PublicKeys: []v1alpha1.PublicKey{{Key: key(n).String(), State: v1alpha1.KeyActive}},
			Endpoints:  []v1alpha1.Endpoint{v1alpha1.Endpoint(ip + ":51871")},
			NodeIPs:    []v1alpha1.NodeIP{v1alpha1.NodeIP(ip)},
		},
	}
	if change != nil {
		change(&r)
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b.Discovery().RESTClient().Post().AbsPath(recordsPath).SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Error()
}

func (b *bench) mustPut(t *testing.T, name string, n int, change func(*v1alpha1.WireGuardNode)) {
	t.Helper()
	if err := b.put(t, name, n, change); err != nil {
		t.Fatal(err)
	}
}

// get returns a record, nil where there is none.
func (b *bench) get(t *testing.T, name string) *v1alpha1.WireGuardNode {
	t.Helper()
	body, err := b.Discovery().RESTClient().Get().AbsPath(recordsPath, name).Do(t.Context()).Raw()
	if err != nil {
		return nil
	}
	var r v1alpha1.WireGuardNode
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// running is a source that runs until the test ends.
type running struct {
	*kube.Source
	stop func() // and waits

	mu      sync.Mutex
	last    keymgr.Snapshot
	count   int // of the snapshots delivered
	changed chan struct{}
}

// run starts a source.
func run(t *testing.T, config *rest.Config, o kube.Options) *running {
	t.Helper()
	client, err := kube.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return runBy(t, client, o)
}

func runBy(t *testing.T, client *kube.Client, o kube.Options) *running {
	t.Helper()
	o.Client, o.Logger = client, slog.New(slog.NewTextHandler(t.Output(), nil))
	source, err := kube.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Source: source, changed: make(chan struct{}, 1)}
	var group sync.WaitGroup
	group.Go(func() {
		if err := source.Run(ctx, r.take); err != nil {
			t.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) take(s keymgr.Snapshot) {
	r.mu.Lock()
	r.last = s
	r.count++
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *running) snapshot() keymgr.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// delivered is how many snapshots there were.
func (r *running) delivered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

const patience = time.Minute // on a busy machine

// await waits for a snapshot.
func (r *running) await(t *testing.T, what string, is func(keymgr.Snapshot) bool) keymgr.Snapshot {
	t.Helper()
	late := time.After(patience)
	for {
		if s := r.snapshot(); is(s) {
			return s
		}
		select {
		case <-r.changed:
		case <-late:
			t.Fatalf("no snapshot with %s; the last: %+v", what, r.snapshot())
		}
	}
}

// eventually polls: nothing else tells.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// awaitNoneLeft waits until no goroutine of a source is left.
func awaitNoneLeft(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	text := ""
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		text = string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(text, "cache.(*Reflector)") && !strings.Contains(text, "keymgr/kube.(*") && !strings.Contains(text, "watch.(*StreamWatcher)") {
			return
		}
	}
	t.Errorf("goroutines are left:\n%s", text)
}

func names(s keymgr.Snapshot) string {
	var all []string
	for _, n := range s.Nodes {
		all = append(all, n.Name)
	}
	return strings.Join(all, " ")
}

// told reports whether a problem of that node says so.
func told(s keymgr.Snapshot, node, message string) bool {
	for _, p := range s.Problems {
		if p.Node == node && strings.Contains(p.Message, message) {
			return true
		}
	}
	return false
}
