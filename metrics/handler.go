package metrics

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wgsteer/wgsteer/dataplane"
)

// Handler serves
//
//	/metrics  the Collector, the Go runtime's and the process's metrics
//	/healthz  200 while the data plane runs, 503 when it has stopped
//	/readyz   200 while pods can talk to other nodes' pods; 503 and a line for each reason why not
//
// from a registry of its own. status is called concurrently; log takes what
// goes wrong in a scrape.
func Handler(status func() dataplane.Status, build Build, log *slog.Logger) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		NewCollector(status, build),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { healthz(w, status()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { readyz(w, status()) })
	return mux, nil
}

func healthz(w http.ResponseWriter, s dataplane.Status) {
	answer(w, s.State != dataplane.Stopped, string(s.State), nil)
}

func readyz(w http.ResponseWriter, s dataplane.Status) {
	answer(w, s.Ready, string(s.State), s.Reasons)
}

// answer writes the state and a line for each reason. A client that is gone
// needs no answer, so errors of writing are nobody's.
func answer(w http.ResponseWriter, well bool, state string, reasons []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, state+"\n")
	for _, r := range reasons {
		_, _ = io.WriteString(w, r+"\n")
	}
}
