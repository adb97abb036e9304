{{/* Names, labels and images; everything that several templates say alike. */}}

{{- define "pagelet.name" -}}
{{- $name := .Release.Name -}}
{{- if not (contains "pagelet" $name) -}}{{- $name = printf "%s-pagelet" $name -}}{{- end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Arguments: root, component. The operator finds gateways by name and component. */}}
{{- define "pagelet.selector" -}}
app.kubernetes.io/name: pagelet
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "pagelet.labels" -}}
{{ include "pagelet.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Arguments: root, component, image (what the user set). */}}
{{- define "pagelet.image" -}}
{{- $image := .root.Values.image -}}
{{- .image | default (printf "%s/pagelet-%s:%s" (trimSuffix "/" $image.registry) .component ($image.tag | default .root.Chart.AppVersion)) -}}
{{- end }}

{{- define "pagelet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "pagelet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Arguments: settings of a component. What its pods ask of nodes. */}}
{{- define "pagelet.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Arguments: root, component. A Role where the scope is a namespace, else a ClusterRole, and who has it. */}}
{{- define "pagelet.rights" -}}
{{- $name := printf "%s-%s" (include "pagelet.name" .root) .component -}}
{{- $kind := eq .root.Values.scope "Namespace" | ternary "Role" "ClusterRole" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "pagelet.labels" . | nindent 4 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- if eq $kind "Role" }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels: {{- include "pagelet.labels" . | nindent 4 }}
rules:
{{ .root.Files.Get (printf "files/%s-rights.yaml" .component) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- if eq $kind "Role" }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels: {{- include "pagelet.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/* Arguments: root, when (Auto, Always or Never). Non-empty where objects of the Prometheus operator are wanted. */}}
{{- define "pagelet.prometheusOperator" -}}
{{- if or (eq .when "Always") (and (eq .when "Auto") (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
yes
{{- end -}}
{{- end }}
