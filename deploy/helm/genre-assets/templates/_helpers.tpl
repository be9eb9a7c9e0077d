{{- define "genre.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "genre.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "genre.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "genre.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "genre.image" -}}
image: "{{ .repository }}:{{ .tag }}"
imagePullPolicy: {{ .pullPolicy }}
{{- end -}}

{{- define "genre.settings" -}}
{{- range $name, $value := .Values.settings }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end -}}

{{- define "genre.secrets" -}}
{{- range .names }}
- { name: {{ . }}, valueFrom: { secretKeyRef: { name: {{ $.secret }}, key: {{ . }} } } }
{{- end }}
{{- end -}}

{{- define "genre.tritonPorts" -}}
- { name: GENRE_HOST, value: 0.0.0.0 }
- { name: GENRE_HOME, value: /var/lib/genre }
- { name: GENRE_TRITON_REPOSITORY, value: /models/repository }
- { name: GENRE_TRITON_HTTP, value: "127.0.0.1:8000" }
- { name: GENRE_TRITON_HTTP_PORT, value: "8000" }
- { name: GENRE_TRITON_GRPC, value: "127.0.0.1:8001" }
- { name: GENRE_TRITON_GRPC_PORT, value: "8001" }
- { name: GENRE_TRITON_METRICS_PORT, value: "8002" }
{{- end -}}
