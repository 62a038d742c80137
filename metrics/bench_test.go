package metrics_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/metrics"
	"github.com/wgsteer/wgsteer/wgkey"
)

// BenchmarkScrape is what a scrape of /metrics costs the daemon, the Go runtime's
// included, but not the making of the status. Bytes are those of the answer.
func BenchmarkScrape(b *testing.B) {
	for _, peers := range []int{10, 500} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			status := sample()
			one := status.Peers[0]
			status.Peers = nil
			for i := range peers {
				p := one
				p.Name, p.PublicKey = fmt.Sprintf("node-%04d", i), wgkey.PublicKey{byte(i), byte(i >> 8), 1}
				status.Peers = append(status.Peers, p)
			}
			h, err := metrics.Handler(func() dataplane.Status { return status }, build, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			bytes := 0
			b.ReportAllocs()
			for b.Loop() {
				answer := httptest.NewRecorder()
				h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if answer.Code != http.StatusOK {
					b.Fatalf("status %d", answer.Code)
				}
				bytes = answer.Body.Len()
			}
			b.SetBytes(int64(bytes))
		})
	}
}
