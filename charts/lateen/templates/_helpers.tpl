{{/* The revision's name: `default` when it has none. */}}
{{- define "lateen.revision" -}}
{{- .Values.revision | default "default" -}}
{{- end -}}

{{/* What the names of a revision end with. */}}
{{- define "lateen.suffix" -}}
{{- if ne (include "lateen.revision" .) "default" }}-{{ .Values.revision }}{{ end -}}
{{- end -}}

{{/* Name of Deployment, Service and ServiceAccount. */}}
{{- define "lateen.name" -}}
istiod{{ include "lateen.suffix" . }}
{{- end -}}

{{/* Name of what belongs to no namespace. */}}
{{- define "lateen.clusterName" -}}
{{ include "lateen.name" . }}-{{ .Release.Namespace }}
{{- end -}}

{{/* Name of the ServiceAccount of the hooks, and of its rights. */}}
{{- define "lateen.hooks" -}}
lateen-hooks{{ include "lateen.suffix" . }}
{{- end -}}

{{/* Name of the Lease by which replicas agree who writes. */}}
{{- define "lateen.lease" -}}
lateen-leader{{ include "lateen.suffix" . }}
{{- end -}}

{{- define "lateen.mutating" -}}
istio-sidecar-injector{{ include "lateen.suffix" . }}
{{- end -}}

{{- define "lateen.validating" -}}
istio-validator{{ include "lateen.suffix" . }}-{{ .Release.Namespace }}
{{- end -}}

{{- define "lateen.image" -}}
{{- if contains "/" .Values.pilot.image -}}
{{ .Values.pilot.image }}
{{- else -}}
{{ .Values.pilot.hub | default .Values.global.hub }}/{{ .Values.pilot.image }}:{{ .Values.pilot.tag | default .Values.global.tag }}{{ with .Values.global.variant }}-{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "lateen.labels" -}}
app: istiod
istio.io/rev: {{ include "lateen.revision" . | quote }}
release: {{ .Release.Name }}
app.kubernetes.io/name: lateen
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: istio
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* What tells the Pods of this revision from others. Istio's names, and what its tools look for. */}}
{{- define "lateen.selector" -}}
app: istiod
istio: pilot
istio.io/rev: {{ include "lateen.revision" . | quote }}
{{- end -}}

{{/* Istio's levels `default:info,ca:debug` as lateend's `info,ca=debug`. */}}
{{- define "lateen.logLevels" -}}
{{ .Values.global.logging.level | replace "default:" "" | replace ":" "=" }}
{{- end -}}

{{/* Containers that may do nothing but run. */}}
{{- define "lateen.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 1337
runAsGroup: 1337
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
The failure policy of one webhook: the live one, which the leader sets, else Ignore. Helm would otherwise put the
rendered value back with every upgrade. The CA bundle is never rendered, so Helm leaves the live one alone.
Arguments: live (the live configuration or nothing), name.
*/}}
{{- define "lateen.failurePolicy" -}}
{{- $policy := "Ignore" -}}
{{- range (.live).webhooks -}}
{{- if eq .name $.name -}}
{{- $policy = .failurePolicy -}}
{{- end -}}
{{- end -}}
{{- $policy -}}
{{- end -}}
