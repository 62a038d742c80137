package metrics_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wgsteer/wgsteer/dataplane"
	"github.com/wgsteer/wgsteer/internal/privtest"
	"github.com/wgsteer/wgsteer/metrics"
)

const dashboardFile = "../deploy/helm/wgsteer/dashboards/wgsteer.json"

// dashboard is what the tests need of Grafana's.
type dashboard struct {
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct{ Name, Definition string }
	} `json:"templating"`
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ Expr string }
	FieldConfig struct{ Defaults struct{ Unit string } }
}

func readDashboard(t *testing.T) (dashboard, string) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d, string(text)
}

// corePanels are Grafana's own kinds: nothing has to be installed.
var corePanels = []string{"row", "stat", "timeseries", "state-timeline", "table"}

// Panels say what they show, by kinds that Grafana has, and do not lie on each other.
func TestDashboardPanels(t *testing.T) {
	d, text := readDashboard(t)
	if d.UID != "wgsteer" || d.SchemaVersion < 39 || len(d.Panels) < 20 {
		t.Fatalf("uid %q, schema %d, %d panels", d.UID, d.SchemaVersion, len(d.Panels))
	}
	ids, cells := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] != "" || !slices.Contains(corePanels, p.Type) || p.Title == "" {
			t.Errorf("panel %+v: its number is that of %q, or it is of an unknown kind", p, ids[p.ID])
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %s says nothing of itself, or asks for nothing", p.Title)
		}
		if (p.Type == "stat" || p.Type == "timeseries") && p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %s has no unit", p.Title)
		}
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %s is at %+v, and there are 24 columns", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("panel %s lies on %s", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
	}
	if want := []string{"datasource", "job", "node", "peer"}; !slices.Equal(names, want) {
		t.Errorf("variables %v, want %v", names, want)
	}
	for _, m := range regexp.MustCompile(`\$\{?([a-z_]+)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, m[1]) && !strings.HasPrefix(m[1], "__") {
			t.Errorf("variable %s is used, and there is none", m[1])
		}
	}
}

// Every metric of ours is on the dashboard, and every one that it asks for is there.
func TestDashboardMetrics(t *testing.T) {
	d, _ := readDashboard(t)
	descs := make(chan *prometheus.Desc, 100)
	newCollector(sample()).Describe(descs)
	close(descs)
	used := map[string]bool{}
	add := func(expr string) {
		for _, name := range regexp.MustCompile(`\b(?:wgsteer|wireguard|process|go)_[a-z_]+`).FindAllString(expr, -1) {
			used[name] = true
		}
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			add(q.Expr)
		}
	}
	for desc := range descs {
		if name := strings.Split(desc.String(), `"`)[1]; !used[name] {
			t.Errorf("%s is on no panel", name)
		}
	}
	for _, v := range d.Templating.List {
		add(v.Definition)
	}
	text := body(t, served(t)+"/metrics")
	for name := range used {
		if !strings.Contains(text, "# TYPE "+name+" ") {
			t.Errorf("the dashboard asks for %s, which is no metric of ours", name)
		}
	}
}

// served answers as the daemon does, from the status that has all.
func served(t *testing.T) string {
	t.Helper()
	handler, err := metrics.Handler(func() dataplane.Status {
		s := sample()
		s.Tunnel.TUNReads.Packets += uint64(time.Now().UnixMilli()) // so that a rate has something to divide by
		return s
	}, build, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func body(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A real Prometheus that scrapes what we serve understands every expression, and has an
// answer to each.
func TestDashboardByPrometheus(t *testing.T) {
	binary := privtest.Tool(t, "prometheus")
	d, _ := readDashboard(t)
	api := startPrometheus(t, binary, served(t))
	await(t, "two scrapes", func() bool { return ask(api, `count_over_time(wgsteer_ready[1m]) >= 2`).results() > 0 })
	filled := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$node", ".*", "$peer", ".*")
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			if got := ask(api, filled.Replace(q.Expr)); got.Status != "success" || got.results() == 0 {
				t.Errorf("panel %s: %s %s, %d results of\n%s", p.Title, got.Status, got.Error, got.results(), q.Expr)
			}
		}
	}
}

// startPrometheus returns the address of the API of one that scrapes a target each second.
func startPrometheus(t *testing.T, binary, target string) string {
	t.Helper()
	dir := t.TempDir()
	at, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: wgsteer, static_configs: [{targets: ['%s']}]}]\n", at.Host)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // it cannot choose itself and tell
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	cmd := exec.Command(binary, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+address, "--log.level=warn")
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
	})
	return "http://" + address
}

type reply struct {
	Status, Error string
	Data          struct{ Result []json.RawMessage }
}

func (r reply) results() int { return len(r.Data.Result) }

// ask makes one instant query; Status is "" where nobody answers.
func ask(api, expr string) (r reply) {
	answer, err := http.PostForm(api+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return reply{Error: err.Error()}
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
		return reply{Error: err.Error()}
	}
	return r
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}
