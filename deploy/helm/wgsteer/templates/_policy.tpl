{{/* Whom the policies are about: wgsteer's own service account, and nobody else. */}}
{{- define "wgsteer.policyMatch" -}}
matchConditions:
  - name: is-wgsteer
    expression: request.userInfo.username == '{{ include "wgsteer.username" . }}'
{{- end }}

{{/* The node that the API server says the token is of: that of the pod it is bound to; '' for any other token. */}}
{{- define "wgsteer.policyNode" -}}
- name: node
  expression: request.userInfo.?extra[?'authentication.kubernetes.io/node-name'][?0].orValue('')
{{- end }}

{{- define "wgsteer.policyBound" -}}
- expression: variables.node != ''
  reason: Forbidden
  message: wgsteer writes with a token that is bound to its pod; this one names no node
{{- end }}
