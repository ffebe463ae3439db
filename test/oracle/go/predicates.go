package main

import (
	"fmt"
	"sort"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// The feature gate TaintTolerationComparisonOperators, which the scheduler's plugins and the kubelet hand to each
// call, is taken to be on: where it is off, the API server admits no pod template with Gt or Lt.
const comparisonOperators = true

// refusals holds what each predicate that refuses a node names: labels, a taint, a mistake.
type refusals map[string][]string

// whoRefuses asks as the components do that a pod meets on its way. All paths are those of k8s.io/kubernetes v1.36.3.
func whoRefuses(pod *v1.Pod, node *v1.Node, class *nodev1.RuntimeClass) refusals {
	if problem := applyRuntimeClass(pod, class); problem != "" {
		return refusals{"RuntimeClass": {problem}}
	}
	refused := refusals{}
	refuseOS(refused, pod, node)
	refuseNodeAffinity(refused, pod, node)
	// pkg/scheduler/framework/plugins/nodename, Fits, which the kubelet calls too.
	if len(pod.Spec.NodeName) != 0 && pod.Spec.NodeName != node.Name {
		refused["NodeName"] = []string{pod.Spec.NodeName}
	}
	if pod.Spec.NodeName == "" {
		refuseUnschedulable(refused, pod, node)
		refuseTaints(refused, pod, node, v1.TaintEffectNoSchedule, v1.TaintEffectNoExecute)
	} else {
		// A pod with a node name is never the scheduler's (pkg/scheduler/eventhandlers.go, assignedPod). The kubelet
		// of that node admits it: pkg/kubelet/lifecycle/predicate.go, generalFilter. Its exception for static pods
		// is for pods that come from files of the node; those that come from the API are not.
		refuseTaints(refused, pod, node, v1.TaintEffectNoExecute)
	}
	return refused
}

// refuseNodeAffinity is pkg/scheduler/framework/plugins/nodeaffinity, Filter, and of pkg/scheduler/eventhandlers.go
// AdmissionCheck, which the kubelet calls: both ignore the error. That the two halves are asked apart tells who refused.
func refuseNodeAffinity(refused refusals, pod *v1.Pod, node *v1.Node) {
	whole, _ := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node)

	selectorOnly := &v1.Pod{Spec: v1.PodSpec{NodeSelector: pod.Spec.NodeSelector}}
	if match, _ := nodeaffinity.GetRequiredNodeAffinity(selectorOnly).Match(node); !match {
		for key, value := range pod.Spec.NodeSelector {
			if !labels.SelectorFromSet(labels.Set{key: value}).Matches(labels.Set(node.Labels)) {
				refused["NodeSelector"] = append(refused["NodeSelector"], key+"="+value)
			}
		}
		sort.Strings(refused["NodeSelector"])
	}

	affinityOnly := &v1.Pod{Spec: v1.PodSpec{Affinity: pod.Spec.Affinity}}
	if match, err := nodeaffinity.GetRequiredNodeAffinity(affinityOnly).Match(node); !match {
		refused["NodeAffinity"] = []string{}
		if err != nil {
			refused["NodeAffinity"] = []string{"malformed"}
		}
	}

	if whole == (refused["NodeSelector"] != nil || refused["NodeAffinity"] != nil) {
		panic(fmt.Sprintf("the halves of node affinity do not make the whole: %v, %v", whole, refused))
	}
}

// refuseUnschedulable is pkg/scheduler/framework/plugins/nodeunschedulable, Filter.
func refuseUnschedulable(refused refusals, pod *v1.Pod, node *v1.Node) {
	if !node.Spec.Unschedulable {
		return
	}
	taint := &v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}
	if !corev1.TolerationsTolerateTaint(klog.Logger{}, pod.Spec.Tolerations, taint, comparisonOperators) {
		refused["NodeUnschedulable"] = []string{}
	}
}

// refuseTaints is pkg/scheduler/framework/plugins/tainttoleration, Filter; the kubelet does the same for fewer effects.
func refuseTaints(refused refusals, pod *v1.Pod, node *v1.Node, effects ...v1.TaintEffect) {
	counts := func(taint *v1.Taint) bool {
		for _, effect := range effects {
			if taint.Effect == effect {
				return true
			}
		}
		return false
	}
	taint, untolerated := corev1.FindMatchingUntoleratedTaint(
		klog.Logger{}, node.Spec.Taints, pod.Spec.Tolerations, counts, comparisonOperators)
	if untolerated {
		refused["TaintToleration"] = []string{taint.ToString()}
	}
}

// refuseOS is pkg/kubelet/lifecycle/predicate.go, rejectPodAdmissionBasedOnOSField, which every pod meets. The kubelet
// knows its own os, and keeps the node's label and its node info equal to it.
func refuseOS(refused refusals, pod *v1.Pod, node *v1.Node) {
	if pod.Spec.OS == nil || pod.Spec.OS.Name == "" {
		return
	}
	os := node.Labels[v1.LabelOSStable]
	if os == "" {
		os = node.Status.NodeInfo.OperatingSystem
	}
	if os != "" && os != string(pod.Spec.OS.Name) {
		refused["PodOS"] = []string{os}
	}
}
