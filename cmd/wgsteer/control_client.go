package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// errNoDaemon says that nobody answers on a control socket.
var errNoDaemon = errors.New("no daemon runs")

// mendRunDir is what to do where runDir, or a part of its path, is a file.
const mendRunDir = "remove that file, or set runDir to a directory"

// controlClient talks to the daemon of a configuration.
type controlClient struct {
	socket string
	iface  string
	http   *http.Client
}

func newControlClient(c configuration) *controlClient {
	socket := c.socketPath()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &controlClient{
		socket: socket,
		iface:  c.Plane.Interface,
		http:   &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	}
}

func (c *controlClient) status(ctx context.Context) (statusReply, error) {
	var reply statusReply
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return reply, c.call(ctx, http.MethodGet, pathStatus, &reply)
}

// greet has the daemon wait that long for its peers.
func (c *controlClient) greet(ctx context.Context, wait time.Duration) (greetReply, error) {
	var reply greetReply
	return reply, c.call(ctx, http.MethodPost, pathGreet+waitQuery(wait), &reply)
}

func (c *controlClient) rotate(ctx context.Context, wait time.Duration) (rotateReply, error) {
	var reply rotateReply
	return reply, c.call(ctx, http.MethodPost, pathRotate+waitQuery(wait), &reply)
}

func waitQuery(wait time.Duration) string {
	return "?" + url.Values{timeoutParameter: {wait.String()}}.Encode()
}

// call makes one request. The error is errNoDaemon when nobody listens.
func (c *controlClient) call(ctx context.Context, method, path string, reply any) error {
	body, err := c.fetch(ctx, method, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, reply); err != nil {
		return fmt.Errorf("understand the daemon's answer to %s (is it of another version?): %w", path, err)
	}
	return nil
}

// fetch is call for an answer as it is.
func (c *controlClient) fetch(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://wgsteer"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("build a request: %w", err)
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var e errorReply
		if json.Unmarshal(body, &e) != nil || e.Error == "" {
			return nil, fmt.Errorf("the daemon answered %s to %s; is it of another version?", answer.Status, path)
		}
		return nil, errors.New(e.Error)
	}
	return body, nil
}

func (c *controlClient) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w for interface %s: nothing listens on %s; start it with `systemctl start wgsteer` or `wgsteer run --config FILE`", errNoDaemon, c.iface, c.socket)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("look for the control socket in runDir: %w; %s", err, mendRunDir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is for root alone; run this as root: %w", c.socket, err)
	}
	return fmt.Errorf("ask the daemon at %s: %w", c.socket, err)
}
