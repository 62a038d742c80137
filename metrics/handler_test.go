package metrics_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/metrics"
)

func TestHandler(t *testing.T) {
	starting := dataplane.Status{State: dataplane.Tunnelling, Reasons: []string{"the tunnel device comes up", "node-b: no handshake"}}
	for name, tt := range map[string]struct {
		status dataplane.Status
		path   string
		code   int
		body   string
	}{
		"ready":             {dataplane.Status{State: dataplane.Ready, Ready: true}, "/readyz", 200, "ready\n"},
		"degraded is ready": {dataplane.Status{State: dataplane.Degraded, Ready: true, Reasons: []string{"x fails"}}, "/readyz", 200, "degraded\nx fails\n"},
		"not ready":         {starting, "/readyz", 503, "tunnelling\nthe tunnel device comes up\nnode-b: no handshake\n"},
		"starting lives":    {starting, "/healthz", 200, "tunnelling\n"},
		"stopped":           {dataplane.Status{State: dataplane.Stopped}, "/healthz", 503, "stopped\n"},
		"other paths":       {starting, "/", 404, "404 page not found\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := get(t, tt.status, http.MethodGet, tt.path)
			if code != tt.code || body != tt.body {
				t.Errorf("%s: %d %q, want %d %q", tt.path, code, body, tt.code, tt.body)
			}
		})
	}
}

func TestHandlerServesMetrics(t *testing.T) {
	code, body := get(t, sample(), http.MethodGet, "/metrics")
	for _, want := range []string{`wgsteer_state{device="wgsteer0",state="degraded"} 1`, "go_goroutines ", "process_open_fds "} {
		if code != 200 || !strings.Contains(body, "\n"+want) {
			t.Errorf("%d, and no %s in:\n%s", code, want, body)
		}
	}
	if code, _ := get(t, sample(), http.MethodPost, "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d", code)
	}
}

func get(t *testing.T, s dataplane.Status, method, path string) (int, string) {
	t.Helper()
	h, err := metrics.Handler(func() dataplane.Status { return s }, build, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}
