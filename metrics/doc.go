// Package metrics tells a monitoring system how a data plane is: Collector
// turns a dataplane.Status into Prometheus metrics, Handler serves them as
// /metrics beside /healthz and /readyz.
//
// Per-peer metrics carry the names and labels that dashboards of the known
// WireGuard exporter use, with the node's name beside the key; all others
// begin with wgsteer_. It keeps no counters of its own and changes nothing: it
// asks for the status at each request. It opens no socket either; an embedder
// registers the Collector where its own metrics are, or serves Handler.
package metrics
