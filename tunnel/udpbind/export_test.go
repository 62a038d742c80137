package udpbind

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/wgsteer/wgsteer/tunnel"
)

// What the tests of the pure parts call.

func Train(datagrams [][]byte) (count, bytes int) { return train(datagrams) }

func Segments(bytes, segment int) int { return segments(bytes, segment) }

func KindOf(message []byte) string {
	return [kinds]string{"", "initiation", "response", "cookie reply", "transport", "keepalive"}[kindOf(message)]
}

func RemedyFor(err unix.Errno, sourced, isTrain bool) string {
	r := remedyFor(err, attempt{sourced: sourced, train: isTrain})
	return [...]string{"give up", "repeat", "wait for room", "forget source", "send plain"}[r]
}

func SendReason(err unix.Errno) tunnel.DropReason { return sendReason(err) }

func BackOff(failures int) time.Duration { return backOff(failures) }
