package main

import (
	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// applyRuntimeClass does to the pod what plugin/pkg/admission/runtimeclass, prepareObjects and setScheduling, does
// (k8s.io/kubernetes v1.36.3), or tells why that plugin refuses the pod.
func applyRuntimeClass(pod *v1.Pod, class *nodev1.RuntimeClass) string {
	if pod.Spec.RuntimeClassName == nil {
		return ""
	}
	if class == nil {
		return "not found"
	}
	if class.Scheduling == nil {
		return ""
	}
	if pod.Spec.NodeSelector == nil {
		pod.Spec.NodeSelector = map[string]string{}
	}
	for key, value := range class.Scheduling.NodeSelector {
		if own, ok := pod.Spec.NodeSelector[key]; ok && own != value {
			return "conflict"
		}
		pod.Spec.NodeSelector[key] = value
	}
	pod.Spec.Tolerations = mergeTolerations(pod.Spec.Tolerations, class.Scheduling.Tolerations)
	return ""
}

// mergeTolerations is pkg/util/tolerations, MergeTolerations, for the versioned type.
func mergeTolerations(first, second []v1.Toleration) []v1.Toleration {
	all := append(first, second...)
	var merged []v1.Toleration

next:
	for i, t := range all {
		for _, t2 := range merged {
			if isSuperset(t2, t) {
				continue next // t is redundant; ignore it
			}
		}
		if i+1 < len(all) {
			for _, t2 := range all[i+1:] {
				// If the tolerations are equal, prefer the first.
				if !equality.Semantic.DeepEqual(&t, &t2) && isSuperset(t2, t) {
					continue next // t is redundant; ignore it
				}
			}
		}
		merged = append(merged, t)
	}
	return merged
}

// isSuperset is the function of that name in the same package.
func isSuperset(ss, t v1.Toleration) bool {
	if equality.Semantic.DeepEqual(&t, &ss) {
		return true
	}
	if t.Key != ss.Key &&
		// An empty key with Exists operator means match all keys & values.
		(ss.Key != "" || ss.Operator != v1.TolerationOpExists) {
		return false
	}
	// An empty effect means match all effects.
	if t.Effect != ss.Effect && ss.Effect != "" {
		return false
	}
	if ss.Effect == v1.TaintEffectNoExecute {
		if ss.TolerationSeconds != nil {
			if t.TolerationSeconds == nil ||
				*t.TolerationSeconds > *ss.TolerationSeconds {
				return false
			}
		}
	}
	switch ss.Operator {
	case v1.TolerationOpEqual, "": // empty operator means Equal
		return t.Operator == v1.TolerationOpEqual && t.Value == ss.Value
	case v1.TolerationOpExists:
		return true
	default:
		return false
	}
}
