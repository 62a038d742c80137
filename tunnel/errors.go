package tunnel

import "errors"

// ErrNotRunning is returned by a Tunnel's methods before it is ready and after
// it has ended.
var ErrNotRunning = errors.New("the tunnel is not running")
