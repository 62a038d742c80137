package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// udpEcho is a command of the test binary: `udpecho serve ADDRESS` answers;
// `udpecho ask ADDRESS N` sends a datagram every 5 ms until N answers came, with
// 0 until its standard input ends, and prints how many it sent and got.
func udpEcho() {
	serve := len(os.Args) == 3 && os.Args[1] == "serve"
	var err error
	if serve {
		err = echoServe(os.Args[2])
	} else {
		err = echoAsk(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func echoServe(address string) error {
	c, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for b := make([]byte, 2048); ; {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		_, _ = c.WriteTo(b[:n], from)
	}
}

func echoAsk(address, answers string) error {
	want, err := strconv.Atoi(answers)
	if err != nil {
		return err
	}
	c, err := net.Dial("udp4", address)
	if err != nil {
		return err
	}
	var ended atomic.Bool
	patience := 30 * time.Second
	if want == 0 {
		patience = 5 * time.Minute
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); ended.Store(true) }()
	}
	sent, got := 0, 0
	for end := time.Now().Add(patience); time.Now().Before(end); sent++ {
		if ended.Load() || want > 0 && got >= want {
			fmt.Println(sent, got)
			return nil
		}
		_, _ = c.Write(make([]byte, 100))
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		for b := make([]byte, 2048); ; got++ {
			if _, err := c.Read(b); err != nil {
				break
			}
		}
	}
	return fmt.Errorf("%d of %d answers came", got, want)
}
