// Package labtest is what tests of whole clusters share: they ask a daemon for its
// status, watch the wire of a lab and follow documents. It is for tests alone.
package labtest

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/netlab"
)

// Status asks the daemon that listens on a control socket; the zero Status when it
// does not answer.
func Status(socket string) (s dataplane.Status) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	reply, err := client.Get("http://wgsteer/v1/status")
	if err != nil {
		return s
	}
	defer reply.Body.Close()
	if err := json.NewDecoder(reply.Body).Decode(&s); err != nil {
		return dataplane.Status{}
	}
	return s
}

// Watch is what a capture, which begin starts, sees while fn runs. One that lost
// frames, or could not read some, fails the test.
func Watch(t testing.TB, begin func() (*netlab.Capture, error), fn func()) netlab.Wire {
	t.Helper()
	capture, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	fn()
	wire, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if wire.Lost != 0 || wire.Malformed.Frames != 0 {
		t.Fatalf("the capture proves nothing: %+v", wire)
	}
	return wire
}

// Within waits for a condition.
func Within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// ShellBlocks are the blocks of a document that begin with ```sh NAME, by name, in
// their order; those of one name belong together.
func ShellBlocks(t testing.TB, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range regexp.MustCompile("(?ms)^ *```sh (\\w+)\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	return blocks
}
