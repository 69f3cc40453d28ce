{{- /* The pod template's metadata: root, component, checksum of its settings. */ -}}
{{- define "copr-operator.podMetadata" -}}
{{- $values := index .root.Values .component -}}
labels:
  {{- include "copr-operator.selector" . | nindent 2 }}
  {{- with merge (dict) ($values.podLabels | default dict) (.root.Values.commonLabels | default dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  copr-operator.dev/settings-checksum: {{ .settings | sha256sum | quote }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* Certificate and key of a component that speaks HTTPS: root, component. As settings, volume and mount. */ -}}
{{- define "copr-operator.tlsSettings" -}}
{{- if (index .root.Values .component).tls.secretName }}
COPR_{{ upper .component }}_TLS_CERT: "/etc/copr-tls/tls.crt"
COPR_{{ upper .component }}_TLS_KEY: "/etc/copr-tls/tls.key"
{{- end }}
{{- end -}}
{{- define "copr-operator.tlsVolume" -}}
{{- with (index .root.Values .component).tls.secretName }}
- name: tls
  secret:
    secretName: {{ . | quote }}
{{- end }}
{{- end -}}
{{- define "copr-operator.tlsMount" -}}
{{- if (index .root.Values .component).tls.secretName }}
- name: tls
  mountPath: /etc/copr-tls
  readOnly: true
{{- end }}
{{- end -}}

{{- /* What all components' pods have in common: root, component, grace, fsGroup (bool). */ -}}
{{- define "copr-operator.podCommon" -}}
{{- $values := index .root.Values .component -}}
# A Service's variables (COPR_BACKEND_PORT=tcp://...) would be taken for settings.
enableServiceLinks: false
serviceAccountName: {{ include "copr-operator.serviceAccount" . | quote }}
terminationGracePeriodSeconds: {{ .grace }}
securityContext:
  {{- include "copr-operator.user" . | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" }}
{{- with index $values $field }}
{{ $field }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- with $values.topologySpreadConstraints | default .spread }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* A container of a component, without its volumeMounts and lifecycle: root, component, ready (period), start (seconds it may take). */ -}}
{{- define "copr-operator.container" -}}
{{- $values := index .root.Values .component -}}
{{- $scheme := dig "tls" "secretName" "" $values | empty | ternary "" "HTTPS" -}}
name: {{ .component }}
image: {{ include "copr-operator.image" (dict "root" .root "image" .root.Values.image) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  - {{ .component }}
  {{- with $values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
envFrom:
  - configMapRef:
      name: {{ include "copr-operator.fullname" .root }}-{{ .component }}-settings
  {{- with .secretEnv }}
  - secretRef:
      name: {{ . | quote }}
  {{- end }}
{{- with $values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: http
    containerPort: 8080
{{- with .start }}
# It listens once it has read its store, which takes long when that is large and far away.
startupProbe:
  httpGet:
    path: /healthz
    port: http
    {{- with $scheme }}
    scheme: {{ . }}
    {{- end }}
  periodSeconds: 5
  failureThreshold: {{ div . 5 }}
  timeoutSeconds: 5
{{- end }}
livenessProbe:
  httpGet:
    path: /healthz
    port: http
    {{- with $scheme }}
    scheme: {{ . }}
    {{- end }}
  initialDelaySeconds: 10
  periodSeconds: 15
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: http
    {{- with $scheme }}
    scheme: {{ . }}
    {{- end }}
  periodSeconds: {{ .ready }}
  timeoutSeconds: 5
resources:
  {{- toYaml ($values.resources | default dict) | nindent 2 }}
{{ include "copr-operator.restricted" . }}
{{- end -}}

{{- /* Who the operator's pods run as: root, fsGroup (bool). OpenShift chooses users and groups itself. */ -}}
{{- define "copr-operator.user" -}}
runAsNonRoot: true
{{- if not .root.Values.openshift.enabled }}
runAsUser: 65532
runAsGroup: 65532
{{- if .fsGroup }}
fsGroup: 65532
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "copr-operator.restricted" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- /* The pod's token for the backend, by which controller and frontend say who they are. */ -}}
{{- define "copr-operator.backendTokenVolume" -}}
- name: backend-token
  projected:
    sources:
      - serviceAccountToken:
          audience: copr-backend
          expirationSeconds: 3600
          path: token
{{- if .Values.backend.tls.caConfigMap }}
- name: backend-ca
  configMap:
    name: {{ .Values.backend.tls.caConfigMap | quote }}
{{- end }}
{{- end -}}
{{- define "copr-operator.backendTokenMount" -}}
- name: backend-token
  mountPath: /var/run/secrets/copr-backend
  readOnly: true
{{- if .Values.backend.tls.caConfigMap }}
- name: backend-ca
  mountPath: /etc/copr-backend
  readOnly: true
{{- end }}
{{- end -}}
