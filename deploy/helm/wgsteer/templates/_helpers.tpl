{{/* Names are fixed: one wgsteer a network namespace, so one release a cluster. A second one fails on the first's names. */}}

{{- define "wgsteer.selectorLabels" -}}
app.kubernetes.io/name: wgsteer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wgsteer.labels" -}}
{{ include "wgsteer.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "wgsteer.image" -}}
{{ .repository }}:{{ .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}

{{/* policy strict or permissive, from the two switches of strictMode. */}}
{{- define "wgsteer.policy" -}}
{{- $egress := .Values.encryption.strictMode.egress.enabled -}}
{{- $ingress := .Values.encryption.strictMode.ingress.enabled -}}
{{- if ne $egress $ingress -}}
{{- fail (printf "encryption.strictMode.egress.enabled is %t and encryption.strictMode.ingress.enabled is %t: wgsteer has one policy for both directions; set both to true (strict) or both to false (permissive)" $egress $ingress) -}}
{{- end -}}
{{- ternary "strict" "permissive" $egress -}}
{{- end }}

{{/* The user that a token of the service account makes. */}}
{{- define "wgsteer.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:wgsteer
{{- end }}

{{/* config.yaml: what is not here has wgsteer's own default. */}}
{{- define "wgsteer.config" -}}
{{- $v := .Values -}}
listenPort: {{ $v.listenPort }}
persistentKeepalive: {{ $v.encryption.wireguard.persistentKeepalive }}
policy: {{ include "wgsteer.policy" . }}
backend: {{ $v.backend }}
{{- with $v.clusterCIDRs }}
clusterCIDRs: {{ toJson . }}
{{- end }}
nodeCIDRs: {{ toJson $v.nodeCIDRs }}
devices: {{ toJson $v.devices }}
podDevices: {{ toJson $v.podDevices }}
mtu: {{ $v.mtu }}
encapsulationPorts: {{ toJson $v.encapsulationPorts }}
# Below the mount, which the kubelet makes with mode 0755: wgsteer wants its own, and makes it with 0700.
stateDir: /var/lib/wgsteer/state
source:
  kubernetes:
    podAddresses: {{ $v.podAddresses }}
    startupTaint: {{ ternary $v.startupTaint.key "" $v.startupTaint.enabled | quote }}
metrics: {{ printf "%s:%v" (ternary "" "127.0.0.1" $v.prometheus.enabled) $v.prometheus.port | quote }}
log: {level: {{ $v.logLevel }}, format: {{ $v.logFormat }}}
{{- end }}
