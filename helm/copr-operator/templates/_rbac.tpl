{{- /*
A role with its binding to one ServiceAccount: root, name, rules (text), account; optional: component, namespace (absent: a ClusterRole),
annotations.
*/ -}}
{{- define "copr-operator.role" -}}
{{- $kind := hasKey . "namespace" | ternary "Role" "ClusterRole" -}}
{{- $where := dict "root" .root "name" .name "component" .component "annotations" .annotations "namespace" (.namespace | default "") -}}
{{ "\n---" }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "copr-operator.metadata" $where | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
{{ "\n---" }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "copr-operator.metadata" $where | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ .account | quote }}
    namespace: {{ .root.Release.Namespace | quote }}
{{ end -}}

{{- /*
A component's rights: root, component, here (rules in the release's namespace), builds (rules where builds are), watch
(rules in the release's namespace when no builds are there), cluster (rules that no Role can give). Cluster-wide, the
ClusterRole has those of builds and cluster.
*/ -}}
{{- define "copr-operator.rights" -}}
{{- $root := .root -}}
{{- $name := printf "%s-%s" (include "copr-operator.fullname" $root) .component -}}
{{- $account := include "copr-operator.serviceAccount" . -}}
{{- if (index $root.Values .component).serviceAccount.create -}}
{{ "\n---" }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "copr-operator.metadata" (dict "root" $root "name" $account "component" .component "annotations" (index $root.Values .component).serviceAccount.annotations) | nindent 2 }}
{{ end -}}
{{- if $root.Values.rbac.create -}}
{{- $role := dict "root" $root "component" .component "account" $account "name" $name -}}
{{- $local := list -}}
{{- with .here }}{{ $local = append $local . }}{{ end -}}
{{- if $root.Values.watchNamespaces -}}
{{- with .cluster }}{{ include "copr-operator.role" (merge (dict "rules" .) $role) }}{{ end -}}
{{- range $root.Values.watchNamespaces -}}
{{ include "copr-operator.role" (merge (dict "rules" $.builds "namespace" . "name" (printf "%s-builds" $name)) $role) }}
{{- end -}}
{{- if and .watch (not (has $root.Release.Namespace $root.Values.watchNamespaces)) -}}
{{ include "copr-operator.role" (merge (dict "rules" .watch "namespace" $root.Release.Namespace "name" (printf "%s-watch" $name)) $role) }}
{{- end -}}
{{- else -}}
{{- include "copr-operator.role" (merge (dict "rules" (compact (list .cluster .builds) | join "\n")) $role) -}}
{{- end -}}
{{- with .here }}{{ include "copr-operator.role" (merge (dict "rules" . "namespace" $root.Release.Namespace) $role) }}{{ end -}}
{{- end -}}
{{- end -}}
