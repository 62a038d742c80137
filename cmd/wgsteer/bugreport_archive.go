package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/wgsteer/wgsteer/keymgr"
)

const (
	partTimeout = 10 * time.Second // a part may take
	partSize    = 4 << 20          // bytes of a part; what is more is cut
)

// bugreport is one archive to be.
type bugreport struct {
	env       *env
	file      string // of the configuration
	config    configuration
	configErr error
	client    *controlClient
	name      string
	now       time.Time
	withheld  *withheld
}

// part is one file of the archive.
type part struct {
	name string
	what string // it is, for the README
	read func(context.Context) ([]byte, error)

	data []byte
	err  error // why data is missing
	cut  int   // bytes that were left out
	took time.Duration
}

// newBugreport finds out what to collect, and from whom.
func newBugreport(env *env, file string, now time.Time) *bugreport {
	config, err := loadConfig(env, file)
	r := &bugreport{
		env: env, file: file, config: config, configErr: err, client: newControlClient(config),
		name: reportName(config.Plane.Node, now), now: now, withheld: newWithheld(),
	}
	if key, err := keymgr.NewStore(config.Plane.StateDir).Load(); err == nil {
		r.withheld.hideKey(key)
	}
	if text, err := readConfigFile(file); err == nil {
		r.withheld.hide(unknownValues(file, text, config.Plane.Node)...)
	}
	return r
}

// collect reads all parts at once; each ends within its time, with what it has.
func (r *bugreport) collect(ctx context.Context) []part {
	parts := r.parts()
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { parts[i].fetch(ctx) })
	}
	all.Wait()
	for i := range parts {
		parts[i].clean(r.withheld)
	}
	return parts
}

// fetch waits no longer than partTimeout, also where read hangs in a system call.
func (p *part) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	type result struct {
		data []byte
		err  error
	}
	done, start := make(chan result, 1), time.Now()
	go func() {
		defer func() {
			if failure := recover(); failure != nil {
				done <- result{nil, fmt.Errorf("a defect of wgsteer: %v\n%s", failure, debug.Stack())}
			}
		}()
		data, err := p.read(ctx)
		done <- result{data, err}
	}()
	select {
	case got := <-done:
		p.data, p.err = got.data, got.err
	case <-ctx.Done():
		p.err = fmt.Errorf("not done within %s", partTimeout)
	}
	p.took = time.Since(start)
}

// clean takes out what must not be in it, and what is too much.
func (p *part) clean(w *withheld) {
	p.data = w.clean(p.data)
	if p.err != nil {
		p.err = errors.New(string(w.clean([]byte(p.err.Error()))))
	}
	if p.cut = max(len(p.data)-partSize, 0); p.cut > 0 {
		p.data = p.data[:partSize]
	}
}

// archive is a tar.gz of the parts that could be had. It is made before a file is, so
// that no half one stays where this is interrupted.
func (r *bugreport) archive(parts []part) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	files := tar.NewWriter(zip)
	add := func(name string, data []byte) error {
		header := &tar.Header{Name: r.name + "/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: r.now, Typeflag: tar.TypeReg}
		if err := files.WriteHeader(header); err != nil {
			return err
		}
		_, err := files.Write(data)
		return err
	}
	errs := []error{add("README.txt", r.withheld.clean(r.readme(parts)))}
	for _, p := range parts {
		if len(p.data) > 0 || p.err == nil {
			errs = append(errs, add(p.name, p.data))
		}
	}
	errs = append(errs, files.Close(), zip.Close())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make the archive: %w", err)
	}
	return out.Bytes(), nil
}

func (r *bugreport) readme(parts []part) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "What wgsteer %s found on node %s at %s, with the configuration %s.\n\n", thisVersion().Version, r.config.Plane.Node, r.now.UTC().Format(time.RFC3339), r.file)
	b.WriteString("No private key is in here. What has the form of a key or a token, and is not the public key of a\n" +
		"node, is replaced by " + withheldText + ". Names and addresses of nodes, prefixes of pods, devices and routes\nare in here.\n\n")
	rows := [][]string{{"FILE", "BYTES", "WHAT"}}
	for _, p := range parts {
		size := fmt.Sprint(len(p.data))
		if p.cut > 0 {
			size += fmt.Sprintf(" (%d more are cut)", p.cut)
		}
		if len(p.data) > 0 || p.err == nil {
			rows = append(rows, []string{p.name, size, p.what})
		}
	}
	columns(&b, rows, 3)
	for _, p := range parts {
		if p.err != nil {
			fmt.Fprintf(&b, "Not to be had, or not all of it: %s, %s\n  because: %s\n\n", p.name, p.what, strings.ReplaceAll(p.err.Error(), "\n", "\n  "))
		}
	}
	return []byte(b.String())
}
