package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings is what a user asks for beside the opt-in.
type settings struct {
	priority          int
	maxNodes          string
	concurrentPulls   int
	timeout           time.Duration
	retryLimit        int
	retryStrategy     string
	excludeContainers []string
	extraImages       []string
	notify            []string
}

var (
	known = []string{
		prewarm, "ips/priority", "ips/max-nodes", "ips/concurrent-pulls", "ips/timeout", "ips/retry-limit",
		"ips/retry-strategy", "ips/exclude-containers", "ips/extra-images", "ips/notify",
	}
	digits   = regexp.MustCompile(`^\d{1,9}$`)
	maxNodes = regexp.MustCompile(`^([1-9]\d{0,5})(%?)$`)
	duration = regexp.MustCompile(`^\d{1,6}[smh]$`)
)

// parseSettings reads the annotations of a workload before those of its pod template.
func parseSettings(workload, template map[string]string) (settings, []string) {
	merged := map[string]string{}
	for _, layer := range []map[string]string{template, workload} {
		for name, value := range layer {
			if strings.HasPrefix(name, "ips/") && !slices.Contains(outputs, name) {
				merged[name] = value
			}
		}
	}
	var s settings
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		value := merged[name]
		if !slices.Contains(known, name) {
			warnings = append(warnings, fmt.Sprintf("annotation %s is not known; known are %s", name, strings.Join(known, ", ")))
		} else if problem := s.set(name, value); problem != "" {
			warnings = append(warnings, fmt.Sprintf("annotation %s: %s %s", name, quote(value), problem))
		}
	}
	return s, warnings
}

func (s *settings) set(name, value string) (problem string) {
	switch name {
	case prewarm:
		if value != "true" && value != "false" {
			return `must be "true" or "false"; not prewarmed`
		}
	case "ips/priority":
		return readInteger(value, 1, 10, &s.priority)
	case "ips/max-nodes":
		match := maxNodes.FindStringSubmatch(value)
		if match == nil || (match[2] == "%" && len(match[1]) > 2 && match[1] != "100") {
			return "must be a number of nodes, 1 or more, or a percentage from 1% to 100%; ignored"
		}
		s.maxNodes = value
	case "ips/concurrent-pulls":
		return readInteger(value, 1, 50, &s.concurrentPulls)
	case "ips/timeout":
		d, err := time.ParseDuration(value)
		if err != nil || !duration.MatchString(value) || d < time.Second || d > 24*time.Hour {
			return "must be a duration from 1s to 24h, such as 90s, 30m or 2h; ignored"
		}
		s.timeout = d
	case "ips/retry-limit":
		return readInteger(value, 0, 5, &s.retryLimit)
	case "ips/retry-strategy":
		if value != "linear" && value != "exponential" {
			return `must be "linear" or "exponential"; ignored`
		}
		s.retryStrategy = value
	case "ips/exclude-containers":
		return readList(value, &s.excludeContainers)
	case "ips/extra-images":
		return readList(value, &s.extraImages)
	case "ips/notify":
		return s.setNotify(value)
	}
	return ""
}

func (s *settings) setNotify(value string) string {
	var names []string
	problem := readList(value, &names)
	for _, name := range names {
		if len(name) <= 63 && len(s.notify) < 20 {
			s.notify = append(s.notify, name)
		}
	}
	if len(s.notify) == len(names) {
		return problem
	}
	return "may have 20 names of 63 characters; the others are ignored"
}

func readInteger(value string, least, most int, into *int) string {
	number, err := strconv.Atoi(value)
	if err != nil || !digits.MatchString(value) || number < least || number > most {
		return fmt.Sprintf("must be a whole number from %d to %d; ignored", least, most)
	}
	*into = number
	return ""
}

func readList(value string, into *[]string) string {
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*into = append(*into, item)
		}
	}
	if len(*into) == 0 {
		return "is an empty list; ignored"
	}
	return ""
}

func quote(value string) string {
	if runes := []rune(value); len(runes) > 60 {
		value = string(runes[:60]) + "…"
	}
	return strconv.Quote(value)
}
