{{/* What both containers have. */}}
{{- define "wgsteer.container" -}}
{{- $v := .root.Values -}}
image: {{ .image }}
imagePullPolicy: {{ $v.image.pullPolicy }}
command: [/usr/local/bin/wgsteer]
env:
  - name: NODE_NAME
    valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  {{- if or $v.k8sServiceHost $v.k8sServicePort }}
  {{- if not (and $v.k8sServiceHost $v.k8sServicePort) }}
  {{- fail "k8sServiceHost and k8sServicePort are needed together: where the API server is, such as 192.0.2.10 and 6443" }}
  {{- end }}
  - {name: KUBERNETES_SERVICE_HOST, value: {{ $v.k8sServiceHost | quote }}}
  - {name: KUBERNETES_SERVICE_PORT, value: {{ $v.k8sServicePort | quote }}}
  {{- end }}
  {{- with $v.extraEnv }}{{ toYaml . | nindent 2 }}{{ end }}
securityContext:
  # Root, so that key, pins and sockets are root's alone; but of root's capabilities only these.
  runAsUser: 0
  runAsGroup: 0
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add:
      # The TUN device, WireGuard's peers, routes, addresses, attaching programs, nftables, socket buffers.
      - NET_ADMIN
      # Loading programs and maps.
      - BPF
      {{- range $v.extraCapabilities }}
      - {{ . }}
      {{- end }}
{{- with $v.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/wgsteer, readOnly: true}
  - {name: state, mountPath: /var/lib/wgsteer}
  - {name: run, mountPath: /run/wgsteer}
  - {name: wireguard, mountPath: /var/run/wireguard}
  # A bpffs that the node mounts later is seen here as well.
  - {name: bpffs, mountPath: /sys/fs/bpf, mountPropagation: HostToContainer}
  {{- if ne $v.backend "kernel" }}
  - {name: tun, mountPath: /dev/net/tun}
  {{- end }}
{{- end }}
