package kubetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
)

// Options of a Server.
type Options struct {
	// Address that the API server listens on; default 127.0.0.1.
	Address netip.Addr
	// Command makes the commands of the server and of etcd, such as ones that run in
	// another network namespace; default exec.Command.
	Command func(name string, args ...string) *exec.Cmd
	// Dial is how this process reaches Address; default: directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Server is a running API server. Its methods are for one goroutine.
type Server struct {
	// Host and Port are where it listens, and stay over Stop and Start.
	Host netip.Addr
	Port int
	// CA is its certificate, PEM.
	CA []byte

	options   Options
	dir       string
	admin     string // a token of the group system:masters
	kept      []port
	etcdURL   string
	etcd, api *process
	apiTool   string
}

// startWithin is far more than a start takes, in an emulated machine too.
const startWithin = 3 * time.Minute

// Start starts etcd and the API server, and waits until it is ready. Both end with
// the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if !o.Address.IsValid() {
		o.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if o.Command == nil {
		o.Command = exec.Command
	}
	etcd := tool(t, "etcd")
	s := &Server{Host: o.Address, options: o, dir: t.TempDir(), apiTool: tool(t, "kube-apiserver"), admin: rand.Text()}
	t.Cleanup(s.end)
	if err := s.prepare(); err != nil {
		t.Fatalf("prepare an API server: %v", err)
	}
	if err := s.startEtcd(etcd); err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	s.Start(t)
	return s
}

// prepare chooses ports and makes keys, certificates and the admin's token.
func (s *Server) prepare() (err error) {
	if s.Port, err = s.port(); err != nil {
		return err
	}
	crt, key, err := cert.GenerateSelfSignedCertKey(s.Host.String(), []net.IP{s.Host.AsSlice(), {127, 0, 0, 1}}, []string{"localhost", "kubernetes.default.svc"})
	if err != nil {
		return err
	}
	s.CA = crt
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"tls.crt":    crt,
		"tls.key":    key,
		"signing":    pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(signing)}),
		"tokens.csv": []byte(s.admin + ",admin,admin,system:masters\n"),
	} {
		if err := os.WriteFile(s.path(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// port returns one that is kept until the end, so also while the server that is to
// listen there is stopped. That is so in this process's network namespace: in another, by
// Options.Command, nobody else takes ports.
func (s *Server) port() (int, error) {
	p, err := keepPort()
	if err != nil {
		return 0, fmt.Errorf("keep a port: %w", err)
	}
	s.kept = append(s.kept, p)
	return p.number, nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) startEtcd(binary string) error {
	clients, err := s.port()
	if err != nil {
		return err
	}
	peers, err := s.port()
	if err != nil {
		return err
	}
	s.etcdURL = "http://127.0.0.1:" + strconv.Itoa(clients)
	peerURL := "http://127.0.0.1:" + strconv.Itoa(peers)
	s.etcd, err = start(s.options.Command(binary,
		"--data-dir="+s.path("etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
		"--listen-client-urls="+s.etcdURL, "--advertise-client-urls="+s.etcdURL,
		"--listen-peer-urls="+peerURL, "--initial-advertise-peer-urls="+peerURL, "--initial-cluster=default="+peerURL,
	), s.path("etcd.log"))
	return err
}

// Start starts the API server again after Stop or Kill, with all that it knew.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	args := []string{
		"--etcd-servers=" + s.etcdURL,
		"--bind-address=" + s.Host.String(), "--secure-port=" + strconv.Itoa(s.Port), "--advertise-address=" + advertised(s.Host).String(), "--endpoint-reconciler-type=none",
		"--cert-dir=" + s.dir, "--tls-cert-file=" + s.path("tls.crt"), "--tls-private-key-file=" + s.path("tls.key"),
		"--token-auth-file=" + s.path("tokens.csv"), "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-signing-key-file=" + s.path("signing"), "--service-account-key-file=" + s.path("signing"),
		"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
	}
	if s.Host.Is6() {
		args[len(args)-2] = "--service-cluster-ip-range=fd00:10:96::/108"
	}
	var err error
	if s.api, err = start(s.options.Command(s.apiTool, args...), s.path("apiserver.log")); err != nil {
		t.Fatal(err)
	}
	if err := s.waitReady(); err != nil {
		t.Fatalf("start kube-apiserver: %v", err)
	}
}

// advertised is what the server tells of itself to those that do not know it, which is
// nobody here; it refuses a loopback address.
func advertised(host netip.Addr) netip.Addr {
	if host.IsLoopback() {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1}) // RFC 5737
	}
	return host
}

// waitReady polls /readyz: nothing else tells.
func (s *Server) waitReady() error {
	client, err := kubernetes.NewForConfig(s.Admin())
	if err != nil {
		return err
	}
	deadline := time.Now().Add(startWithin)
	for {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		cancel()
		if err == nil {
			return nil
		}
		for _, p := range []*process{s.etcd, s.api} {
			if dead := p.alive(); dead != nil {
				return dead
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %s: %w\n%s", startWithin, err, tail(s.path("apiserver.log")))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Stop ends the API server as an upgrade does; Kill as a crash does. etcd goes on.
func (s *Server) Stop() { s.api.stop() }

// Kill ends the API server at once.
func (s *Server) Kill() { s.api.kill() }

// end stops all.
func (s *Server) end() {
	for _, p := range []*process{s.api, s.etcd} {
		if p != nil {
			p.kill()
		}
	}
	for _, p := range s.kept {
		p.release()
	}
}

// Admin is the configuration of a client that may do everything, without a limit of
// requests.
func (s *Server) Admin() *rest.Config { return s.Client(s.admin) }

// Client is the configuration of a client with a bearer token.
func (s *Server) Client(token string) *rest.Config {
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(s.Host.String(), strconv.Itoa(s.Port)),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CA},
		Dial:            s.options.Dial,
		QPS:             -1,
	}
}
