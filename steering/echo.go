package steering

// routeEvent is what the kernel tells of a route that carries our mark.
type routeEvent struct {
	key    routeKey
	target routeTarget
	gone   bool
}

// echoes says whether e tells of nothing but our own work: a route that came and
// is wanted so, or one that went and is not wanted. Each of our changes sends such
// an event, and reading everything anew for it would triple the work on a change.
func (e routeEvent) echoes(want map[routeKey]routeTarget) bool {
	target, wanted := want[e.key]
	if e.gone {
		return !wanted
	}
	return wanted && target == e.target
}
