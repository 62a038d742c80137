package steering

import (
	"errors"
	"fmt"
)

// CheckPodDevices says what is wrong with the devices that a configuration has pods
// behind: of state it asks for Strict, LocalPodCIDRs, Devices and PodDevices.
func CheckPodDevices(options Options, state State) []Finding {
	o, err := options.validated()
	if err != nil {
		return nil // Check says so
	}
	want := podDevicesOf(o.Name, state.PodDevices)
	table, err := o.nft().read()
	if err != nil && !errors.Is(err, errNoNftables) {
		return []Finding{failed(podDevicesFinding, fmt.Errorf("read nftables %v: %w", o.nft(), err))}
	}
	var found []Finding
	if inForce := podDevicesOf(o.Name, table.patterns); table.whole() {
		found = judgePodDevicesInForce(inForce, want)
	}
	if len(want.patterns) == 0 {
		return found
	}
	net, err := readNetwork(o.RouteProtocol)
	if err != nil {
		return append(found, failed(podDevicesFinding, err))
	}
	pinned, err := pinnedSought(o)
	if err != nil {
		return append(found, failed(podDevicesFinding, err))
	}
	pinned.named = state.Devices
	found = append(found, want.judge(net, net.find(pinned), net.waysToPods(state.LocalPodCIDRs), state.Strict)...)
	if len(found) == 0 {
		found = []Finding{{Name: podDevicesFinding, Level: OK, Detail: "what is decrypted for pods leaves by podDevices alone: " + want.String()}}
	}
	return found
}
