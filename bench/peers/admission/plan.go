package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
)

const (
	maxImages      = 100
	maxImageLength = 512
)

type image struct {
	name   string
	always bool
}

// plan is what a workload needs: images, how they are pulled, and where.
type plan struct {
	images           []image
	imagePullSecrets []string
	serviceAccount   string
	runtimeClass     string
	requirements     requirements
}

type requirements struct {
	nodeName     string
	nodeSelector map[string]string
	nodeAffinity *corev1.NodeSelector
	tolerations  []corev1.Toleration
	os           corev1.OSName
}

func planOf(spec *corev1.PodSpec, settings settings, warnings *[]string) plan {
	p := plan{
		images:         collectImages(spec, settings, warnings),
		serviceAccount: spec.ServiceAccountName,
		requirements: requirements{
			nodeName:     spec.NodeName,
			nodeSelector: spec.NodeSelector,
			tolerations:  spec.Tolerations,
		},
	}
	for _, secret := range spec.ImagePullSecrets {
		p.imagePullSecrets = append(p.imagePullSecrets, secret.Name)
	}
	if spec.RuntimeClassName != nil {
		p.runtimeClass = *spec.RuntimeClassName
	}
	if spec.OS != nil {
		p.requirements.os = spec.OS.Name
	}
	if spec.Affinity != nil && spec.Affinity.NodeAffinity != nil {
		p.requirements.nodeAffinity = spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return p
}

func collectImages(spec *corev1.PodSpec, settings settings, warnings *[]string) []image {
	var images []image
	warn := func(format string, args ...any) { *warnings = append(*warnings, fmt.Sprintf(format, args...)) }
	add := func(where, text string, policy corev1.PullPolicy) {
		if text == "" {
			warn("%s names no image", where)
			return
		}
		if policy == corev1.PullNever {
			warn("%s: image %q is left out: its pull policy is Never", where, text)
			return
		}
		named, err := reference.ParseDockerRef(text)
		if err != nil {
			warn("%s: image %q is left out: %v", where, text, err)
			return
		}
		name := named.String()
		at := slices.IndexFunc(images, func(each image) bool { return each.name == name })
		if len(name) > maxImageLength || (at < 0 && len(images) >= maxImages) {
			warn("%s: image %q is left out: a task takes %d images of %d characters", where, text, maxImages, maxImageLength)
			return
		}
		always := policy == corev1.PullAlways || (policy == "" && isLatest(named))
		if at < 0 {
			images = append(images, image{name: name, always: always})
		} else {
			images[at].always = images[at].always || always
		}
	}
	excluded := slices.Clone(settings.excludeContainers)
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for _, container := range containers {
			if at := slices.Index(excluded, container.Name); at >= 0 {
				excluded = slices.Delete(excluded, at, at+1)
				continue
			}
			add("container "+container.Name, container.Image, container.ImagePullPolicy)
		}
	}
	for _, name := range excluded {
		warn("annotation ips/exclude-containers: there is no container %s", name)
	}
	for _, volume := range spec.Volumes {
		if volume.Image != nil {
			add("volume "+volume.Name, volume.Image.Reference, volume.Image.PullPolicy)
		}
	}
	for _, text := range settings.extraImages {
		add("annotation ips/extra-images", text, corev1.PullIfNotPresent)
	}
	slices.SortFunc(images, func(a, b image) int { return strings.Compare(a.name, b.name) })
	return images
}

func isLatest(named reference.Named) bool {
	tagged, ok := named.(reference.Tagged)
	return ok && tagged.Tag() == "latest"
}
