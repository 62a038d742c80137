package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// level says how bad a finding is.
type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn" // works, or may, but look at it
	levelFail level = "fail" // does not work until it is mended
)

// finding is one thing that `check` looked at.
type finding struct {
	Name   string `json:"name"`
	Level  level  `json:"level"`
	Detail string `json:"detail"`
	// Mend is what to do about it, in lines; empty when nothing is.
	Mend []string `json:"mend,omitempty"`
}

// checked is what `check` prints.
type checked struct {
	OK       bool      `json:"ok"` // nothing fails
	Findings []finding `json:"findings"`
}

func newCheckCommand(env *env) *cobra.Command {
	var file string
	var wait time.Duration
	var onWire bool
	var seconds int
	var out output
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find what keeps wgsteer from working here, and how to mend it",
		Long: `Look at all that wgsteer needs on this node: the configuration, the API server with
source.kubernetes and this process's rights there, the kernel and what it is built
with, this process's capabilities, the UDP port, the way to each known peer, and the
firewall; and at what of the guard stands in the kernel, which policy is in force,
and what is left over. Each line is ok, warn or fail, and says how to mend what is
not ok. It changes nothing; to see whether the kernel can run the tunnel it makes a
WireGuard link of another name and removes it.

A peer is known when the source has its record. Towards each, a handshake is
made: by the running daemon, or, if there is none, from the tunnel's own port.

With --wire it watches the uplinks of a running node for some seconds instead,
and reports what is WireGuard and which pods' packets can be read, by pair; the
daemon greets its peers meanwhile, so that handshakes without answer show. It
sends probes of its own over each uplink, before and after: a capture that does
not see them is blind. It needs CAP_NET_RAW.

The exit code is 1 when anything fails; with --wire when there was plaintext, or
when the capture was blind or lost packets.`,
		Example: `  wgsteer check --config /etc/wgsteer/config.yaml
  wgsteer check --wire --seconds 30
  wgsteer check --wire -o json | jq '.plaintextPairs[] | {from, to, device, frames}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if onWire && cmd.Flags().Changed("wait") {
				return usageError{errors.New("--wait is for peers to answer without --wire, which watches for --seconds")}
			}
			if onWire {
				return runCheckWire(cmd.Context(), env, file, seconds, &out)
			}
			if cmd.Flags().Changed("seconds") {
				return usageError{errors.New("--seconds says how long --wire watches; give both")}
			}
			if wait <= 0 || wait > maxWait {
				return usageError{fmt.Errorf("--wait %s: a duration up to %s is needed", wait, maxWait)}
			}
			done := env.waiting("waiting for peers to answer")
			result := check(cmd.Context(), env, file, wait)
			done()
			table := func(w io.Writer) error { return result.table(w, env.colours()) }
			if err := out.print(env.Stdout, result, table); err != nil {
				return err
			}
			if !result.OK {
				return errSilent
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "how long to wait for peers")
	cmd.Flags().BoolVar(&onWire, "wire", false, "watch the uplinks for plaintext of pods")
	cmd.Flags().IntVar(&seconds, "seconds", 7, "how long --wire watches; a handshake may wait for 5")
	out.addFlag(cmd)
	return cmd
}

// maxWatch bounds --seconds: a slip of the finger should not watch for days.
const maxWatch = 3600

// runCheckWire is `check --wire`.
func runCheckWire(ctx context.Context, env *env, file string, seconds int, out *output) error {
	if seconds < 1 || seconds > maxWatch {
		return usageError{fmt.Errorf("--seconds %d: a number from 1 to %d is needed", seconds, maxWatch)}
	}
	config, err := loadConfig(env, file)
	if err != nil {
		return err
	}
	done := env.waiting("watching the wire")
	report, err := checkWire(ctx, config, time.Duration(seconds)*time.Second)
	done()
	if err != nil {
		return err
	}
	if err := out.print(env.Stdout, report, func(w io.Writer) error { return report.table(w, env.colours()) }); err != nil {
		return err
	}
	if !report.OK {
		return errSilent
	}
	return nil
}

// check looks at everything; what needs a configuration takes defaults for
// what is wrong in it.
func check(ctx context.Context, env *env, file string, wait time.Duration) checked {
	config, err := loadConfig(env, file)
	findings := []finding{checkConfig(file, err)}
	if err == nil {
		var cluster []finding
		config, cluster = checkKubernetes(ctx, config)
		findings = append(findings, cluster...)
	}
	findings = append(findings, checkSteering(config)...)
	findings = append(findings, checkNamed(config.Plane.Devices)...)
	findings = append(findings, checkPodDevices(config)...)
	findings = append(findings, checkBackend(config.Plane.Backend)...)
	port := config.Plane.ListenPort
	if err == nil {
		var network []finding
		network, port = checkNetwork(ctx, config, wait)
		findings = append(findings, network...)
	}
	findings = append(findings, checkFirewall(ctx, port)...)
	return judge(findings)
}

func judge(findings []finding) checked {
	c := checked{OK: true, Findings: findings}
	for _, f := range findings {
		if f.Level == levelFail {
			c.OK = false
		}
	}
	return c
}

func checkConfig(file string, err error) finding {
	if err == nil {
		return finding{"configuration", levelOK, file, nil}
	}
	lines := strings.Split(err.Error(), "\n")
	return finding{"configuration", levelFail, lines[0], append(lines[1:], "what follows is checked with defaults in place of what is wrong")}
}

func (c checked) table(w io.Writer, colour bool) error {
	sgr := map[level]string{levelOK: green, levelWarn: yellow, levelFail: red}
	width := 0
	for _, f := range c.Findings {
		width = max(width, len(f.Name))
	}
	var b strings.Builder
	count := map[level]int{}
	for _, f := range c.Findings {
		count[f.Level]++
		fmt.Fprintf(&b, "%s  %-*s  %s\n", paint(colour, sgr[f.Level], fmt.Sprintf("%-4s", f.Level)), width, f.Name, f.Detail)
		for _, m := range f.Mend {
			fmt.Fprintf(&b, "      %-*s  %s\n", width, "", m)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d to look at, %d failing\n", count[levelOK], count[levelWarn], count[levelFail])
	_, err := io.WriteString(w, b.String())
	return err
}
