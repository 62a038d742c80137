package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wgsteer/wgsteer/keymgr"
	"github.com/wgsteer/wgsteer/keymgr/file"
)

// never is a Reread so long that only the watch can have told.
const never = time.Hour

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record is the text of a sound record.
func record(n keymgr.Node) string {
	return fmt.Sprintf("name: %s\npublicKey: %s\nendpoint: %s\nnodeIPs: [%s]\npodCIDRs: [%s]\n", n.Name, n.PublicKey, n.Endpoint, n.NodeIPs[0], n.PodCIDRs[0])
}

func TestAddChangeRemove(t *testing.T) {
	dir := t.TempDir()
	got := follow(t, file.Options{Dir: dir, Reread: never})
	awaitNames(t, got)
	put(t, dir+"/b.yaml", record(node("b", 2)))
	put(t, dir+"/a.yml", record(node("a", 1)))
	awaitNames(t, got, "a", "b")
	put(t, dir+"/b.yaml", record(node("b", 9)))
	await(t, got, "the changed record", func(s keymgr.Snapshot) bool {
		return len(s.Nodes) == 2 && s.Nodes[1].PublicKey == node("b", 9).PublicKey
	})
	must(t, os.Rename(dir+"/a.yml", dir+"/a.yaml"))
	await(t, got, "the renamed record", func(s keymgr.Snapshot) bool {
		return len(s.Nodes) == 2 && s.Nodes[0].Record == dir+"/a.yaml"
	})
	must(t, os.Remove(dir+"/a.yaml"))
	if s := awaitNames(t, got, "b"); len(s.Problems) > 0 {
		t.Errorf("problems: %+v", s.Problems)
	}
}

func TestLeftoversAreIgnored(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.yaml", ".a.yaml123", "a.yaml~", "#a.yaml#", "#a.yaml", ".#a.yaml", "a.yaml.swp", ".a.yaml.swp", "a.json", "a.yaml.tmp", "README", "a.yaml.bak", ".yaml"} {
		put(t, filepath.Join(dir, name), "nonsense")
	}
	must(t, os.Mkdir(dir+"/..data", 0o755))
	put(t, dir+"/b.yaml", record(node("b", 2)))
	s := awaitNames(t, follow(t, file.Options{Dir: dir, Reread: never}), "b")
	if len(s.Problems) > 0 || len(s.Unusable) > 0 || s.Partial {
		t.Errorf("the snapshot has more than b: %+v", s)
	}
}

func TestBadRecordKeepsTheLastGoodOne(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", record(node("a", 1)))
	put(t, dir+"/b.yaml", record(node("b", 2)))
	got := follow(t, file.Options{Dir: dir, Reread: never})
	awaitNames(t, got, "a", "b")
	broken := strings.Replace(record(node("a", 1)), "10.244.1.0/24", "10.244.1.5/24", 1)
	put(t, dir+"/a.yaml", broken)
	s := await(t, got, "a problem", func(s keymgr.Snapshot) bool { return len(s.Problems) == 1 })
	want := []keymgr.Problem{{Node: "a", Record: dir + "/a.yaml",
		Message: `line 5: podCIDRs[0]: "10.244.1.5/24" has host bits; write 10.244.1.0/24 (the record stays in use as it was before)`}}
	if diff := cmp.Diff(want, s.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if len(s.Nodes) != 2 || !s.Nodes[0].Equal(node("a", 1)) {
		t.Errorf("the last good record is gone: %+v", s.Nodes)
	}
	put(t, dir+"/a.yaml", record(node("a", 7)))
	await(t, got, "the mended record", func(s keymgr.Snapshot) bool {
		return len(s.Problems) == 0 && len(s.Nodes) == 2 && s.Nodes[0].Equal(node("a", 7))
	})

	// The same record, bad since before the source runs.
	put(t, dir+"/a.yaml", broken)
	s = awaitNames(t, follow(t, file.Options{Dir: dir, Reread: never}), "b")
	if diff := cmp.Diff([]string{"a"}, s.Unusable); diff != "" {
		t.Errorf("unusable (-want +got):\n%s", diff)
	}
	accepted, _ := keymgr.Resolve(node("self", 99), keymgr.ClaimsOf([]keymgr.Node{node("a", 1), node("b", 2)}), s)
	if len(accepted) != 2 || !accepted[0].Equal(node("a", 1)) {
		t.Errorf("after a restart, claims do not bring the node back: %+v", accepted)
	}
}

func TestTwoFilesOfOneName(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a.yaml", record(node("a", 1)))
	got := follow(t, file.Options{Dir: dir, Reread: never})
	awaitNames(t, got, "a")
	put(t, dir+"/a.yml", record(node("a", 3)))
	s := await(t, got, "two problems", func(s keymgr.Snapshot) bool { return len(s.Problems) == 2 })
	const kept = " (the record stays in use as it was before)"
	want := []keymgr.Problem{
		{Node: "a", Record: dir + "/a.yaml", Message: "node a has another record, " + dir + "/a.yml; remove one of them" + kept},
		{Node: "a", Record: dir + "/a.yml", Message: "node a has another record, " + dir + "/a.yaml; remove one of them" + kept},
	}
	if diff := cmp.Diff(want, s.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if len(s.Nodes) != 1 || !s.Nodes[0].Equal(node("a", 1)) {
		t.Errorf("the holder did not stay: %+v", s.Nodes)
	}
	must(t, os.Remove(dir+"/a.yaml"))
	await(t, got, "the file that stayed", func(s keymgr.Snapshot) bool {
		return len(s.Problems) == 0 && len(s.Nodes) == 1 && s.Nodes[0].Equal(node("a", 3)) && s.Nodes[0].Record == dir+"/a.yml"
	})
}

// TestConfigMap swaps a volume as the kubelet does: records are links through
// ..data, and ..data is a link that is replaced.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(number string, n keymgr.Node) {
		must(t, os.Mkdir(filepath.Join(dir, "..v"+number), 0o755))
		put(t, filepath.Join(dir, "..v"+number, "a.yaml"), record(n))
		must(t, os.Symlink("..v"+number, dir+"/..data_tmp"))
		must(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
	}
	version("1", node("a", 1))
	must(t, os.Symlink("..data/a.yaml", dir+"/a.yaml"))
	got := follow(t, file.Options{Dir: dir, Reread: never})
	awaitNames(t, got, "a")
	version("2", node("a", 2))
	await(t, got, "the new version", func(s keymgr.Snapshot) bool {
		return len(s.Nodes) == 1 && s.Nodes[0].Equal(node("a", 2)) && len(s.Problems) == 0
	})
}

func TestDirectoryComesAndGoes(t *testing.T) {
	dir := t.TempDir() + "/nodes"
	got := follow(t, file.Options{Dir: dir, Reread: 20 * time.Millisecond})
	missing := []keymgr.Problem{{Record: dir, Message: "the directory of node records does not exist; create " + dir + ", or configure another"}}
	s := await(t, got, "the missing directory", func(s keymgr.Snapshot) bool { return s.Partial })
	if diff := cmp.Diff(missing, s.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	publish(t, dir, node("a", 1))
	awaitNames(t, got, "a")
	must(t, os.Rename(dir, dir+"-moved"))
	s = await(t, got, "the missing directory", func(s keymgr.Snapshot) bool { return s.Partial })
	if diff := cmp.Diff([]string{"a"}, names(s)); diff != "" {
		t.Errorf("nodes while the directory is away (-want +got):\n%s", diff)
	}
	publish(t, dir, node("b", 2))
	awaitNames(t, got, "b")
}

// TestReplacedDirectoryIsWatched has no other way to learn of c than a watch
// on the new directory.
func TestReplacedDirectoryIsWatched(t *testing.T) {
	dir := t.TempDir() + "/nodes"
	publish(t, dir, node("a", 1))
	got := follow(t, file.Options{Dir: dir, Reread: never})
	awaitNames(t, got, "a")
	must(t, os.Rename(dir, dir+"-moved"))
	publish(t, dir, node("b", 2))
	awaitNames(t, got, "b")
	publish(t, dir, node("c", 3))
	awaitNames(t, got, "b", "c")
	must(t, os.RemoveAll(dir))
	publish(t, dir, node("d", 4))
	awaitNames(t, got, "d")
	publish(t, dir, node("e", 5))
	awaitNames(t, got, "d", "e")
}

// TestRereads changes a file where the watch does not look.
func TestRereads(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	put(t, elsewhere+"/a", record(node("a", 1)))
	must(t, os.Symlink(elsewhere+"/a", dir+"/a.yaml"))
	got := follow(t, file.Options{Dir: dir, Reread: 20 * time.Millisecond})
	awaitNames(t, got, "a")
	put(t, elsewhere+"/a", record(node("a", 2)))
	await(t, got, "the change", func(s keymgr.Snapshot) bool { return len(s.Nodes) == 1 && s.Nodes[0].Equal(node("a", 2)) })
}

// TestUnreadableRecords has each kind of thing that is no record's file.
func TestUnreadableRecords(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("nowhere", dir+"/dangling.yaml"))
	must(t, os.Mkdir(dir+"/directory.yaml", 0o755))
	must(t, os.Symlink("/dev/zero", dir+"/endless.yaml"))
	put(t, dir+"/bad name.yaml", "")
	put(t, dir+"/good.yaml", record(node("good", 1)))
	s := awaitNames(t, follow(t, file.Options{Dir: dir, Reread: never}), "good")
	want := []keymgr.Problem{
		{Record: dir + "/bad name.yaml", Message: `the file's name is no node's: "bad name": a node's name has only letters, digits, '.', '_' and '-'`},
		{Node: "dangling", Record: dir + "/dangling.yaml", Message: "the record cannot be read: open " + dir + "/dangling.yaml: no such file or directory"},
		{Node: "directory", Record: dir + "/directory.yaml", Message: "the record cannot be read: it is not a regular file"},
		{Node: "endless", Record: dir + "/endless.yaml", Message: "the record cannot be read: it is not a regular file"},
	}
	if diff := cmp.Diff(want, s.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"dangling", "directory", "endless"}, s.Unusable); diff != "" {
		t.Errorf("unusable (-want +got):\n%s", diff)
	}
}

// TestReceiverOwnsTheSnapshot spoils what it was given.
func TestReceiverOwnsTheSnapshot(t *testing.T) {
	dir := t.TempDir()
	publish(t, dir, node("a", 1))
	got := follow(t, file.Options{Dir: dir, Reread: never})
	first := awaitNames(t, got, "a")
	first.Nodes[0].PodCIDRs[0] = node("x", 77).PodCIDRs[0]
	first.Nodes[0].Name = "spoiled"
	publish(t, dir, node("b", 2))
	if s := awaitNames(t, got, "a", "b"); !s.Nodes[0].Equal(node("a", 1)) {
		t.Errorf("a is spoiled: %+v", s.Nodes[0])
	}
}

// TestOnlyChangesAreDelivered touches files without changing what they say,
// while they are read every millisecond, and then adds one.
func TestOnlyChangesAreDelivered(t *testing.T) {
	dir := t.TempDir()
	replace := func(name, content string) { // so that no half of it is ever seen
		put(t, dir+"/.aside", content)
		must(t, os.Rename(dir+"/.aside", dir+"/"+name))
	}
	replace("a.yaml", record(node("a", 1)))
	got := follow(t, file.Options{Dir: dir, Reread: time.Millisecond})
	awaitNames(t, got, "a")
	for i := range 200 {
		replace("a.yaml", fmt.Sprintf("# comment %d\n%s", i, record(node("a", 1))))
		replace("notes.txt", "x")
	}
	replace("b.yaml", record(node("b", 2)))
	select {
	case s := <-got:
		if diff := cmp.Diff([]string{"a", "b"}, names(s)); diff != "" {
			t.Errorf("delivered without a change (-want +got):\n%s", diff)
		}
	case <-time.After(patience):
		t.Fatal("b was never delivered")
	}
}
