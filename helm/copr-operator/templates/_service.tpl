{{- /* spec of a component's Service: root, component. */ -}}
{{- define "copr-operator.service" -}}
{{- $service := (index .root.Values .component).service -}}
spec:
  {{- if ne $service.type "ClusterIP" }}
  type: {{ $service.type }}
  {{- end }}
  selector:
    {{- include "copr-operator.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ $service.port | int }}
      targetPort: http
      {{- with $service.nodePort }}
      nodePort: {{ . | int }}
      {{- end }}
{{- end -}}
