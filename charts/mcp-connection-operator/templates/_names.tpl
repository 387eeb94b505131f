{{- define "mcpc.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: mcp-connection-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "mcpc.selector" -}}
app.kubernetes.io/name: mcp-connection-operator
control-plane: controller-manager
{{- end }}

{{- define "mcpc.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (printf "%s-controller-manager" .Values.namePrefix) -}}
{{- end }}

{{- define "mcpc.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The operator's account, as a subject of a binding. */}}
{{- define "mcpc.subjects" -}}
- kind: ServiceAccount
  name: {{ include "mcpc.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* The generated ClusterRole and Role: {"ClusterRole": {...}, "Role": {...}}. */}}
{{- define "mcpc.generatedRoles" -}}
{{- $roles := dict -}}
{{- range splitList "\n---\n" (.Files.Get "files/role.yaml") -}}
{{- $role := fromYaml . -}}
{{- $_ := set $roles $role.kind $role -}}
{{- end -}}
{{- toJson $roles -}}
{{- end }}

{{/* Where the pages are below externalURL; the operator serves nothing else to the public. */}}
{{- define "mcpc.paths" -}}
{{- $base := (urlParse .Values.externalURL).path | trimSuffix "/" -}}
{{- list (printf "%s/connect" $base) (printf "%s/oauth" $base) | toJson -}}
{{- end }}
