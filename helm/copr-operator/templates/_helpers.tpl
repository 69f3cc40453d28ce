{{- define "copr-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /*
44 characters: a pod of the StatefulSet has the label `<fullname>-backend-<10 characters of a hash>`, of 63 at most. No dots,
which a release's name may have: pods are named after it, and a namespace.
*/ -}}
{{- define "copr-operator.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := include "copr-operator.name" . -}}
{{- $name = contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) -}}
{{- end -}}
{{- $name | replace "." "-" | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- /* Labels that find the pods of a component. One installation a namespace: Lease and id counter have fixed names. */ -}}
{{- define "copr-operator.selector" -}}
app.kubernetes.io/name: copr-operator
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* Copr's name of something as an object's name, which has fewer characters: letters of ASCII in lower case, digits, `-` and `.`. */ -}}
{{- define "copr-operator.objectName" -}}
{{- $parts := list -}}
{{- range regexReplaceAll "[^a-z0-9.-]+" (lower .) "-" | splitList "." -}}
{{- with trimAll "-" . }}{{ $parts = append $parts . }}{{ end -}}
{{- end -}}
{{- join "." $parts -}}
{{- end -}}

{{- /* metadata of an object. root, name; optional: component, namespace ("": none), labels, annotations. */ -}}
{{- define "copr-operator.metadata" -}}
{{- $root := .root -}}
name: {{ .name | quote }}
{{- $namespace := hasKey . "namespace" | ternary .namespace $root.Release.Namespace }}
{{- with $namespace }}
namespace: {{ . | quote }}
{{- end }}
labels:
  app.kubernetes.io/name: copr-operator
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
  {{- with merge (dict) (.labels | default dict) ($root.Values.commonLabels | default dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) ($root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "copr-operator.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* Name of a component's ServiceAccount: root, component. */ -}}
{{- define "copr-operator.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- default (printf "%s-%s" (include "copr-operator.fullname" .root) .component) $account.name -}}
{{- end -}}

{{- /* How pods reach a component by its Service: root, component. */ -}}
{{- define "copr-operator.serviceURL" -}}
{{- $values := index .root.Values .component -}}
{{ empty $values.tls.secretName | ternary "http" "https" }}://{{ $values.service.name }}.{{ .root.Release.Namespace }}.svc:{{ $values.service.port | int }}
{{- end -}}
{{- define "copr-operator.backendURL" -}}
{{ include "copr-operator.serviceURL" (dict "root" . "component" "backend") }}
{{- end -}}

{{- /*
How people reach a component: root, component, given. By what is exposed, else by the Service. A name with `*` is none to
connect to. Gateways are taken to speak HTTPS: their listeners are not ours to see.
*/ -}}
{{- define "copr-operator.publicURL" -}}
{{- $values := index .root.Values .component -}}
{{- if .given -}}
{{- .given -}}
{{- else if and $values.ingress.enabled (not (hasPrefix "*" ($values.ingress.host | default ""))) -}}
{{ empty $values.ingress.tlsSecretName | ternary "http" "https" }}://{{ $values.ingress.host }}
{{- else -}}
{{- $names := list -}}
{{- if $values.httpRoute.enabled -}}
{{- range $values.httpRoute.hostnames }}{{ if not (hasPrefix "*" .) }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- end -}}
{{- with $names -}}
https://{{ first . }}
{{- else -}}
{{ include "copr-operator.serviceURL" $ }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- define "copr-operator.resultsURL" -}}
{{ include "copr-operator.publicURL" (dict "root" . "component" "backend" "given" .Values.backend.resultsURL) }}
{{- end -}}
{{- define "copr-operator.frontendURL" -}}
{{ include "copr-operator.publicURL" (dict "root" . "component" "frontend" "given" .Values.frontend.url) }}
{{- end -}}

{{- /* A value as the text of an environment variable: big numbers without an exponent. */ -}}
{{- define "copr-operator.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- /* `settings` of a component as variables: prefix, settings. */ -}}
{{- define "copr-operator.settings" -}}
{{- range $name, $value := .settings }}
{{ $.prefix }}{{ $name | snakecase | upper }}: {{ include "copr-operator.text" $value | quote }}
{{- end }}
{{- end -}}

{{- /* What --build-pods gets: what is given, and the proxies as the environment of build pods. */ -}}
{{- define "copr-operator.buildPods" -}}
{{- $pods := dict -}}
{{- range $name, $value := omit .Values.buildPods "sourceCPURequest" "env" -}}
{{- if $value }}{{ $_ := set $pods $name $value }}{{ end -}}
{{- end -}}
{{- $env := dict -}}
{{- range $scheme := list "http" "https" -}}
{{- with index $.Values.proxy $scheme -}}
{{- $_ := set $env (printf "%s_proxy" $scheme) . -}}
{{- $_ := set $env (printf "%s_PROXY" ($scheme | upper)) . -}}
{{- end -}}
{{- end -}}
{{- if $env -}}
{{- $none := list "localhost" "127.0.0.1" ".svc" ".cluster.local" -}}
{{- with .Values.proxy.noProxy }}{{ $none = append $none . }}{{ end -}}
{{- $_ := set $env "no_proxy" (join "," $none) -}}
{{- $_ := set $env "NO_PROXY" (join "," $none) -}}
{{- end -}}
{{- with merge (dict) (.Values.buildPods.env | default dict) $env }}{{ $_ := set $pods "env" . }}{{ end -}}
{{- toJson $pods -}}
{{- end -}}
