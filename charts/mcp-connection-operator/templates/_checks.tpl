{{/* What a schema cannot say, or not clearly. The operator itself refuses the same values. */}}
{{- define "mcpc.checks" -}}
{{- include "mcpc.checkURL" . -}}
{{- include "mcpc.checkOtherRelease" . -}}
{{- $v := .Values -}}
{{- if ne (empty $v.consent.userHeader) (empty $v.consent.proxyCIDRs) -}}
{{- fail "consent.userHeader and consent.proxyCIDRs must be given together" -}}
{{- end -}}
{{- if and $v.egress.proxyURL $v.egress.proxyURLSecret.name -}}
{{- fail "egress.proxyURL and egress.proxyURLSecret.name exclude each other" -}}
{{- end -}}
{{- if not (or $v.serviceAccount.create $v.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: name the account that is there in serviceAccount.name" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled: name the Gateway in httpRoute.parentRefs" -}}
{{- end -}}
{{- if and $v.policies.serverHosts.enabled (not $v.policies.serverHosts.allowed) -}}
{{- fail "policies.serverHosts.enabled: without a host in policies.serverHosts.allowed nobody could connect to anything" -}}
{{- end -}}
{{- range $name := list "serviceMonitor" "rules" -}}
{{- if and (get $v.metrics $name).enabled (not $v.metrics.enabled) -}}
{{- fail (printf "metrics.%s.enabled wants metrics.enabled" $name) -}}
{{- end -}}
{{- end -}}
{{- include "mcpc.checkExtraArgs" . -}}
{{- end }}

{{- define "mcpc.checkURL" -}}
{{- $v := .Values -}}
{{- $url := urlParse $v.externalURL -}}
{{- $host := $url.hostname | lower | trimSuffix "." -}}
{{- $own := regexMatch "^(localhost|127\\.[0-9.]+|::1)$" $host -}}
{{- $loopback := or $own (hasSuffix ".localhost" $host) -}}
{{- if or $url.userinfo $url.query (regexMatch "[#?\\s]" $v.externalURL) -}}
{{- fail "externalURL must have no user name, query or fragment" -}}
{{- end -}}
{{- if regexMatch "(^|\\.)example\\.(com|org|net)$" $host -}}
{{- fail (printf "externalURL: %s is a placeholder: give the URL at which browsers reach the Service %s-callback, or leave it empty until there is one" $host $v.namePrefix) -}}
{{- end -}}
{{- if and (eq $url.scheme "http") (not $own) -}}
{{- fail (printf "externalURL: http is for loopback only, such as http://localhost:8082; give %s by https" $host) -}}
{{- end -}}
{{- if and $loopback $v.consent.userHeader -}}
{{- fail (printf "consent.userHeader cannot go with the loopback externalURL %s: people reach it past the proxy, and would write the header themselves" $v.externalURL) -}}
{{- end -}}
{{- range $name := list "ingress" "httpRoute" -}}
{{- if and (get $v $name).enabled (or $loopback (not $v.externalURL)) -}}
{{- fail (printf "%s.enabled: name the public host in externalURL" $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Objects of the cluster have one owner. Helm would name the first that it finds, in many words. */}}
{{- define "mcpc.checkOtherRelease" -}}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" (printf "%s-metrics-auth-role" .Values.namePrefix) -}}
{{- with dig "metadata" "annotations" (dict) $role -}}
{{- $name := get . "meta.helm.sh/release-name" -}}
{{- $namespace := get . "meta.helm.sh/release-namespace" -}}
{{- if and $name (or (ne $name $.Release.Name) (ne $namespace $.Release.Namespace)) -}}
{{- fail (printf "the release %s in the namespace %s has installed the operator already: upgrade that one, or give this one a namePrefix and watchNamespaces of its own, with crds.enabled=false" $name $namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "mcpc.checkExtraArgs" -}}
{{- $values := dict
  "external-url" "externalURL"
  "watch-namespaces" "watchNamespaces"
  "operator-namespace" "the release's namespace"
  "leader-elect" "always given"
  "consent-user-header" "consent.userHeader"
  "consent-proxy-cidrs" "consent.proxyCIDRs"
  "trusted-proxy-cidrs" "trustedProxyCIDRs"
  "egress-allow-cidrs" "egress.allowCIDRs"
  "egress-proxy-url" "egress.proxyURL or egress.proxyURLSecret"
  "ca-file" "caBundle"
  "allow-insecure-http" "allowInsecureHTTP"
  "log-level" "log.level"
  "log-format" "log.format"
  "metrics-per-object" "metrics.perObject"
  "uninstall-check" "uninstallCheck"
-}}
{{- range $arg := .Values.extraArgs -}}
{{- with get $values (regexFind "[a-z][-a-z]*" $arg) -}}
{{- fail (printf "extraArgs: %s has a place of its own: %s" (regexFind "--[a-z][-a-z]*" $arg) .) -}}
{{- end -}}
{{- end -}}
{{- end }}
