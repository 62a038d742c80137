package udpbind

// Limits of UDP_SEGMENT. UDP_MAX_SEGMENTS was 64 when it came (Linux 4.18);
// newer kernels that take more also take this. And a train is one IP packet
// until it is cut.
const (
	maxSegments   = 64
	maxTrainBytes = 65507 // 65535 less an IPv4 header of 20 and a UDP header of 8
)

// train says how many of the first datagrams the kernel may be given as one,
// to cut into segments of the first one's length: none is longer than the
// first, only the last may be shorter, and none is empty (an empty segment
// would not be sent). It is at least 1 when there are any.
func train(datagrams [][]byte) (count, bytes int) {
	if len(datagrams) == 0 {
		return 0, 0
	}
	segment := len(datagrams[0])
	bytes = segment
	for count = 1; count < len(datagrams) && count < maxSegments; count++ {
		n := len(datagrams[count])
		if n == 0 || n > segment || bytes+n > maxTrainBytes {
			break
		}
		bytes += n
		if n < segment {
			return count + 1, bytes
		}
	}
	return count, bytes
}
