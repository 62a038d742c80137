package tunnel_test

import (
	"testing"

	"github.com/wgsteer/wgsteer/tunnel"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"wgsteer0": true, "a": true, "fifteen-bytes-x": true, "wg.0": true,
		"": false, "sixteen-bytes-xx": false, ".": false, "..": false, "a/b": false, "a:b": false, "a b": false, "wg%d": false, "a\n": false,
	} {
		if err := tunnel.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
