package steering

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What the tunnel device needs of the IPv4 configuration that sysctl shows under
// net.ipv4.conf. It is set by netlink, since /proc/sys is read-only in a
// container; the netlink library cannot. Numbers: IPV4_DEVCONF_* in
// include/uapi/linux/ip.h, and IFLA_INET_CONF in include/uapi/linux/if_link.h.
//
//   - rp_filter is loose: a decrypted packet's source may be routed elsewhere.
//     The kernel takes the greater of this and conf.all, so 0 would not help.
//   - forwarding: a decrypted packet goes on to a pod. It is usually on already,
//     by ip_forward; there is no such switch for one IPv6 device.
const (
	inetConf          = 1
	devconfForwarding = 1
	devconfRPFilter   = 8
)

var tunnelConf = map[int]uint32{devconfForwarding: 1, devconfRPFilter: 2}

// setTunnelConf configures the device for decrypted packets. It says how much it
// changed.
func setTunnelConf(index int) (int, error) {
	have, err := readConf(index)
	if err != nil {
		return 0, fmt.Errorf("read the IPv4 configuration of device %d: %w", index, err)
	}
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	values := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(inetConf, nil)
	changed := 0
	for id, value := range tunnelConf {
		if have[id] != value {
			values.AddRtAttr(id, nl.Uint32Attr(value))
			changed++
		}
	}
	if changed == 0 {
		return 0, nil
	}
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	request.AddData(spec)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return 0, fmt.Errorf("set rp_filter and forwarding of device %d: %w", index, err)
	}
	return changed, nil
}

// readConf reads a device's IPv4 configuration, by number.
func readConf(index int) (map[int]uint32, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	answers, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	conf := map[int]uint32{}
	for _, answer := range answers {
		if len(answer) < unix.SizeofIfInfomsg {
			continue
		}
		array, err := inside(answer[unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC, unix.AF_INET, inetConf)
		if err != nil {
			return nil, err
		}
		for id := 1; len(array) >= 4; id, array = id+1, array[4:] { // starts with number 1
			conf[id] = binary.NativeEndian.Uint32(array)
		}
	}
	return conf, nil
}

// inside is the value of the attribute at the end of path, nil if it is missing.
func inside(attributes []byte, path ...uint16) ([]byte, error) {
	for _, want := range path {
		parsed, err := nl.ParseRouteAttrAsMap(attributes)
		if err != nil {
			return nil, err
		}
		attributes = parsed[want].Value
	}
	return attributes, nil
}
