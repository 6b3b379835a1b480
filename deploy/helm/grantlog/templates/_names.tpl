{{- define "grantlog.labels" -}}
app.kubernetes.io/name: grantlog
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "grantlog.selector" -}}
app.kubernetes.io/name: grantlog
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "grantlog.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "grantlog.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "grantlog.container" -}}
image: {{ include "grantlog.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "grantlog.settings" -}}
- name: GRANTLOG_ISSUER
  value: {{ required "issuer: the server's public URL" .Values.issuer | quote }}
- name: GRANTLOG_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.secret.name }}, key: {{ .Values.secret.databaseUrl }}}}
- name: GRANTLOG_MASTER_KEY_FILE
  value: /run/secrets/grantlog/master.key
- name: GRANTLOG_LOG_FORMAT
  value: json
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "grantlog.masterKey" -}}
- name: master-key
  secret:
    secretName: {{ .Values.secret.name }}
    defaultMode: 0440
    items: [{key: {{ .Values.secret.masterKey }}, path: master.key}]
{{- end }}
