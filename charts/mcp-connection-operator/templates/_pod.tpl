{{/* What the pods of the operator and of its uninstall check share. */}}
{{- define "mcpc.pod" -}}
serviceAccountName: {{ include "mcpc.serviceAccount" . }}
# The manager speaks to the API server; the ServiceAccount itself hands its token to no pod unasked.
automountServiceAccountToken: true
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "mcpc.container" -}}
image: {{ include "mcpc.image" . }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  readOnlyRootFilesystem: true
  runAsNonRoot: true
{{- end }}

{{- define "mcpc.watchNamespaces" -}}
{{- with .Values.watchNamespaces -}}
- --watch-namespaces={{ join "," . }}
{{- end -}}
{{- end }}

{{/* Values in quotes where a person wrote them. */}}
{{- define "mcpc.args" -}}
- --leader-elect
{{- with .Values.externalURL }}
- {{ printf "--external-url=%s" . | quote }}
{{- end }}
{{- with include "mcpc.watchNamespaces" . }}
{{ . }}
{{- end }}
{{- with .Values.consent.userHeader }}
- {{ printf "--consent-user-header=%s" . | quote }}
{{- end }}
{{- with .Values.consent.proxyCIDRs }}
- --consent-proxy-cidrs={{ join "," . }}
{{- end }}
{{- with .Values.trustedProxyCIDRs }}
- --trusted-proxy-cidrs={{ join "," . }}
{{- end }}
{{- with .Values.egress.allowCIDRs }}
- --egress-allow-cidrs={{ join "," . }}
{{- end }}
{{- with .Values.egress.proxyURL }}
- {{ printf "--egress-proxy-url=%s" . | quote }}
{{- end }}
{{- if .Values.egress.proxyURLSecret.name }}
- --egress-proxy-url=$(EGRESS_PROXY_URL)
{{- end }}
{{- if .Values.allowInsecureHTTP }}
- --allow-insecure-http
{{- end }}
{{- if .Values.caBundle.configMap }}
- --ca-file=/etc/mcp-connection-operator/ca/{{ .Values.caBundle.key }}
{{- end }}
{{- if ne .Values.log.level "info" }}
- --log-level={{ .Values.log.level }}
{{- end }}
{{- if ne .Values.log.format "json" }}
- --log-format={{ .Values.log.format }}
{{- end }}
{{- if not .Values.metrics.enabled }}
- --metrics-bind-address=0
{{- end }}
{{- if not .Values.metrics.perObject }}
- --metrics-per-object=false
{{- end }}
{{- range .Values.extraArgs }}
- {{ quote . }}
{{- end }}
{{- end }}

{{- define "mcpc.topologySpread" -}}
{{- $ours := dict "matchLabels" (include "mcpc.selector" . | fromYaml) -}}
{{- $constraints := .Values.topologySpreadConstraints -}}
{{- if and (not $constraints) (gt (int .Values.replicas) 1) -}}
{{- $constraints = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- range $constraints }}
- {{ toYaml (merge (dict) . (dict "labelSelector" $ours)) | nindent 2 | trim }}
{{- end -}}
{{- end }}
