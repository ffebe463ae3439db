// Matches pods to nodes as kube-scheduler's plugins NodeUnschedulable, NodeName, TaintToleration and NodeAffinity do,
// with the library that they are made of. One goroutine: the scheduler itself spreads the nodes over 16 of them.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// A line of input: match these pods (by index) with the first so many nodes, so often.
type question struct {
	Nodes  int   `json:"nodes"`
	Pods   []int `json:"pods"`
	Repeat int   `json:"repeat"`
}

// A line of output: how long all repeats took, and of the last one how many nodes matched and a hash of their names.
type answer struct {
	Nanoseconds int64  `json:"nanoseconds"`
	Count       int    `json:"count"`
	Hash        string `json:"hash"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: match FOLDER (with nodes.json and pods.json); questions come as lines of JSON")
	}
	klog.SetOutput(io.Discard)
	var nodes []v1.Node
	var pods []v1.Pod
	read(filepath.Join(os.Args[1], "nodes.json"), &nodes)
	read(filepath.Join(os.Args[1], "pods.json"), &pods)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(measure(asked, nodes[:asked.Nodes], pods)); err != nil {
			log.Fatal(err)
		}
	}
}

func read(file string, into any) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func measure(asked question, nodes []v1.Node, pods []v1.Pod) answer {
	found := make([][]*v1.Node, len(asked.Pods))
	begun := time.Now()
	for range asked.Repeat {
		for i, pod := range asked.Pods {
			found[i] = match(&pods[pod], nodes)
		}
	}
	took := time.Since(begun)
	count := 0
	hash := sha256.New()
	for i, pod := range asked.Pods {
		count += len(found[i])
		names := make([]string, len(found[i]))
		for j, node := range found[i] {
			names[j] = node.Name
		}
		slices.Sort(names)
		fmt.Fprintf(hash, "%d\n", pod)
		for _, name := range names {
			fmt.Fprintf(hash, "%s\n", name)
		}
	}
	return answer{took.Nanoseconds(), count, hex.EncodeToString(hash.Sum(nil))}
}

var unschedulable = v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}

// As the plugins' Filter, in the order of the default profile. What does not depend on the node is made once for a pod,
// as NodeAffinity's PreFilter does it, which also spares pods without any affinity.
func match(pod *v1.Pod, nodes []v1.Node) []*v1.Node {
	logger := klog.Background()
	asks := len(pod.Spec.NodeSelector) > 0 || hasRequiredAffinity(pod)
	required := nodeaffinity.GetRequiredNodeAffinity(pod)
	fitting := make([]*v1.Node, 0, len(nodes))
	for i := range nodes {
		node := &nodes[i]
		if node.Spec.Unschedulable &&
			!corev1.TolerationsTolerateTaint(logger, pod.Spec.Tolerations, &unschedulable, false) {
			continue
		}
		if pod.Spec.NodeName != "" && pod.Spec.NodeName != node.Name {
			continue
		}
		if _, untolerated := corev1.FindMatchingUntoleratedTaint(
			logger, node.Spec.Taints, pod.Spec.Tolerations, doNotSchedule, false); untolerated {
			continue
		}
		if asks {
			if matches, err := required.Match(node); err != nil || !matches {
				continue
			}
		}
		fitting = append(fitting, node)
	}
	return fitting
}

func hasRequiredAffinity(pod *v1.Pod) bool {
	affinity := pod.Spec.Affinity
	return affinity != nil && affinity.NodeAffinity != nil &&
		affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil
}

// kube-scheduler, pkg/scheduler/framework/plugins/helper, DoNotScheduleTaintsFilterFunc.
func doNotSchedule(taint *v1.Taint) bool {
	return taint.Effect == v1.TaintEffectNoSchedule || taint.Effect == v1.TaintEffectNoExecute
}
