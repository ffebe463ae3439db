package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"gomodules.xyz/jsonpatch/v2"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const prewarm = "ips/prewarm"

var outputs = []string{"ips/status", "ips/task", "ips/last-warmed", "ips/message"}

type mutator struct {
	decoder admission.Decoder
	diff    bool
}

// workload is an object, and the part of it that describes its pods.
type workload struct {
	object      client.Object
	annotations map[string]string
	spec        *corev1.PodSpec
	finished    bool
}

func (m *mutator) Handle(_ context.Context, req admission.Request) admission.Response {
	w, err := m.read(req)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if w == nil {
		return admission.Allowed("")
	}
	annotations := w.object.GetAnnotations()
	settings, warnings := parseSettings(annotations, w.annotations)
	if !wantsPrewarm(w) {
		return m.optOut(req, w.object).WithWarnings(printable(warnings)...)
	}
	p := planOf(w.spec, settings, &warnings)
	if len(p.images) == 0 {
		warnings = append(warnings, "there is no image to prewarm")
	}
	if len(settings.notify) > 0 {
		warnings = append(warnings, "annotation ips/notify: no notifier is configured; nobody is told")
	}
	return m.optIn(req, w.object).WithWarnings(printable(warnings)...)
}

// read parses the object by its kind; nil for kinds that are none of ours.
func (m *mutator) read(req admission.Request) (*workload, error) {
	ofTemplate := func(object client.Object, template *corev1.PodTemplateSpec) (*workload, error) {
		if err := m.decoder.Decode(req, object); err != nil {
			return nil, err
		}
		return &workload{object: object, annotations: template.Annotations, spec: &template.Spec}, nil
	}
	switch req.Kind.Kind {
	case "Deployment":
		object := &appsv1.Deployment{}
		return ofTemplate(object, &object.Spec.Template)
	case "StatefulSet":
		object := &appsv1.StatefulSet{}
		return ofTemplate(object, &object.Spec.Template)
	case "DaemonSet":
		object := &appsv1.DaemonSet{}
		return ofTemplate(object, &object.Spec.Template)
	case "ReplicaSet":
		object := &appsv1.ReplicaSet{}
		return ofTemplate(object, &object.Spec.Template)
	case "Job":
		object := &batchv1.Job{}
		return ofTemplate(object, &object.Spec.Template)
	case "CronJob":
		object := &batchv1.CronJob{}
		return ofTemplate(object, &object.Spec.JobTemplate.Spec.Template)
	case "Pod":
		pod := &corev1.Pod{}
		if err := m.decoder.Decode(req, pod); err != nil {
			return nil, err
		}
		finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		return &workload{object: pod, spec: &pod.Spec, finished: finished}, nil
	}
	return nil, nil
}

func wantsPrewarm(w *workload) bool {
	if w.finished || w.object.GetDeletionTimestamp() != nil {
		return false
	}
	if slices.ContainsFunc(w.object.GetOwnerReferences(), isBuiltInController) {
		return false
	}
	if value, ok := w.object.GetAnnotations()[prewarm]; ok {
		return value == "true"
	}
	return w.annotations[prewarm] == "true"
}

func isBuiltInController(owner metav1.OwnerReference) bool {
	return owner.Controller != nil && *owner.Controller &&
		slices.Contains([]string{"v1", "apps/v1", "batch/v1"}, owner.APIVersion)
}

func (m *mutator) optIn(req admission.Request, object client.Object) admission.Response {
	labels := object.GetLabels()
	if labels[prewarm] == "true" {
		return admission.Allowed("")
	}
	if m.diff {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[prewarm] = "true"
		object.SetLabels(labels)
		return patchByDiff(req, object)
	}
	var patch []jsonpatch.JsonPatchOperation
	if labels == nil {
		patch = append(patch, jsonpatch.NewOperation("add", "/metadata/labels", map[string]string{}))
	}
	return admission.Patched("", append(patch, jsonpatch.NewOperation("add", pointer("labels", prewarm), "true"))...)
}

func (m *mutator) optOut(req admission.Request, object client.Object) admission.Response {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	var patch []jsonpatch.JsonPatchOperation
	if _, ok := labels[prewarm]; ok {
		patch = append(patch, jsonpatch.NewOperation("remove", pointer("labels", prewarm), nil))
		delete(labels, prewarm)
	}
	for _, name := range outputs {
		if _, ok := annotations[name]; ok {
			patch = append(patch, jsonpatch.NewOperation("remove", pointer("annotations", name), nil))
			delete(annotations, name)
		}
	}
	if len(patch) == 0 {
		return admission.Allowed("")
	}
	if m.diff {
		return patchByDiff(req, object)
	}
	return admission.Patched("", patch...)
}

func patchByDiff(req admission.Request, object client.Object) admission.Response {
	marshaled, err := json.Marshal(object)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, marshaled)
}

var escaped = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(field, name string) string {
	return fmt.Sprintf("/metadata/%s/%s", field, escaped.Replace(name))
}

// printable makes warnings fit for an HTTP header, and for what the API server takes of them.
func printable(warnings []string) []string {
	if len(warnings) > 12 {
		warnings = append(warnings[:11:11], fmt.Sprintf("and %d more warnings", len(warnings)-11))
	}
	var all []string
	for _, warning := range warnings {
		text := []rune(strings.Map(func(r rune) rune {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				return ' '
			}
			return r
		}, warning))
		all = append(all, "ips: "+string(text[:min(len(text), 245)]))
	}
	return all
}
