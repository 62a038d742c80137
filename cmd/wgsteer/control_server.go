package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The longest that a request may wait for peers, and what it waits unasked.
const (
	maxWait     = time.Minute
	defaultWait = 5 * time.Second
)

// listenControl opens c's control socket, for root alone. The caller holds c's
// lock, so a socket that is there belongs to nobody.
func listenControl(ctx context.Context, c configuration) (net.Listener, error) {
	path := c.socketPath()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the stale control socket: %w", err)
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		// A socket's mode before bind is the file's from its first moment.
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return l, nil
}

// controlHandler answers on the control socket; metered is metricsHandler's. A reload
// ends with ctx, the daemon's, and not because the client went away.
func controlHandler(ctx context.Context, d *daemon, metered http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+pathMetrics, http.StripPrefix("/v1", metered))
	mux.HandleFunc("GET "+pathLog, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(d.ring.text()) // fails where the client is gone
	})
	mux.HandleFunc("GET "+pathGoroutines, func(w http.ResponseWriter, _ *http.Request) {
		// Debug 1 has no arguments of functions, which could be keys.
		_ = pprof.Lookup("goroutine").WriteTo(w, 1) // fails where the client is gone
	})
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) {
		d.reply(w, http.StatusOK, d.status())
	})
	mux.HandleFunc("POST "+pathRotate, d.withWait(func(ctx context.Context, w http.ResponseWriter) {
		rotation, err := d.plane.RotateKey(ctx)
		switch {
		case err == nil:
			d.reply(w, http.StatusOK, rotateReply{Rotation: rotation})
		case rotation.NewPublicKey.IsZero():
			d.fail(w, err)
		default: // the key is new; some peers have not followed yet
			d.reply(w, http.StatusOK, rotateReply{rotation, err.Error()})
		}
	}))
	mux.HandleFunc("POST "+pathGreet, d.withWait(func(ctx context.Context, w http.ResponseWriter) {
		silent, err := d.plane.Greet(ctx)
		if err != nil {
			d.fail(w, err)
			return
		}
		reply := greetReply{Silent: silent}
		for _, p := range d.plane.Status().Peers {
			reply.Peers = append(reply.Peers, p.Name)
		}
		d.reply(w, http.StatusOK, reply)
	}))
	mux.HandleFunc("POST "+pathReload, func(w http.ResponseWriter, _ *http.Request) {
		if err := d.reload(ctx); err != nil {
			d.fail(w, err)
			return
		}
		d.reply(w, http.StatusOK, d.status().Configuration)
	})
	return mux
}

// withWait gives a request a context that ends when it has waited long enough.
func (d *daemon) withWait(serve func(context.Context, http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wait := defaultWait
		if text := r.URL.Query().Get(timeoutParameter); text != "" {
			var err error
			if wait, err = time.ParseDuration(text); err != nil || wait <= 0 || wait > maxWait {
				d.reply(w, http.StatusBadRequest, errorReply{fmt.Sprintf("timeout %q: a duration up to %s is needed", text, maxWait)})
				return
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		serve(ctx, w)
	}
}

func (d *daemon) fail(w http.ResponseWriter, err error) {
	d.reply(w, http.StatusInternalServerError, errorReply{err.Error()})
}

func (d *daemon) reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		d.log.Debug("answer on the control socket", "error", err) // the client is gone
	}
}
