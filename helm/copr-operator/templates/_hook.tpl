{{- /*
Where `helm test` builds. None where build pods need ConfigMaps, Secrets or a queue, which a namespace made for the test
would lack: the build would wait for them until the time is up, so the test fails at once and says so.
*/ -}}
{{- define "copr-operator.testNamespace" -}}
{{- if .Values.test.namespace -}}
{{- .Values.test.namespace -}}
{{- else if .Values.watchNamespaces -}}
{{- first .Values.watchNamespaces -}}
{{- else -}}
{{- $pods := .Values.buildPods -}}
{{- if not (or .Values.backend.tls.caConfigMap $pods.caConfigMap $pods.imagePullSecrets $pods.queueName) -}}
{{- include "copr-operator.fullname" . -}}-test
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Pod spec of a hook: root, account, args (list), token (bool: for the backend). */ -}}
{{- define "copr-operator.hookPod" -}}
restartPolicy: Never
enableServiceLinks: false
serviceAccountName: {{ .account | quote }}
securityContext:
  {{- include "copr-operator.user" . | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" }}
{{- with index $.root.Values.controller $field }}
{{ $field }}: {{ toJson . }}
{{- end }}
{{- end }}
containers:
  - name: hook
    image: {{ include "copr-operator.image" (dict "root" .root "image" .root.Values.image) | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    {{- if .token }}
    {{- if .root.Values.backend.tls.caConfigMap }}
    env:
      - name: SSL_CERT_FILE
        value: /etc/copr-backend/ca.crt
    {{- end }}
    volumeMounts:
      {{- include "copr-operator.backendTokenMount" .root | nindent 6 }}
    {{- end }}
    resources:
      requests:
        cpu: 50m
        memory: 96Mi
      limits:
        memory: 256Mi
    {{- include "copr-operator.restricted" . | nindent 4 }}
{{- if .token }}
volumes:
  {{- include "copr-operator.backendTokenVolume" .root | nindent 2 }}
{{- end }}
{{- end -}}
