// Command oracle tells what Kubernetes and containerd make of a case. It reads one JSON object a line and answers
// each with one line, in order: which nodes the scheduler's own library lets a pod onto, or what an image reference
// is normalised to.
package main

import (
	"bufio"
	"bytes"
	_ "crypto/sha256" // go-digest takes the algorithms that are linked, as in containerd
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"os"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
)

// question has either a pod and a node or an image reference.
type question struct {
	Pod          *v1.Pod              `json:"pod,omitempty"`
	Node         *v1.Node             `json:"node,omitempty"`
	RuntimeClass *nodev1.RuntimeClass `json:"runtimeClass,omitempty"`
	Image        *string              `json:"image,omitempty"`
}

// answer holds, for a pod and a node, every predicate that refuses the node, with what it names; none where the
// node fits. For an image reference, its canonical form; none where it is no reference.
type answer struct {
	RefusedBy refusals `json:"refusedBy,omitempty"`
	Canonical string   `json:"canonical,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := reply(out, line); err != nil {
				out.Flush()
				fmt.Fprintf(os.Stderr, "oracle: %v: %s\n", err, line)
				os.Exit(1)
			}
		}
		// Whoever waits for an answer gets it; whoever sends many questions at once gets many answers at once.
		if err != nil || in.Buffered() == 0 {
			out.Flush()
		}
		if err != nil {
			return
		}
	}
}

func reply(out *bufio.Writer, line []byte) error {
	var asked question
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return err
	}
	var given answer
	switch {
	case asked.Image != nil:
		given.Canonical = canonical(*asked.Image)
	case asked.Pod != nil && asked.Node != nil:
		given.RefusedBy = whoRefuses(asked.Pod, asked.Node, asked.RuntimeClass)
	default:
		return fmt.Errorf("neither an image nor a pod and a node")
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(given)
}

// canonical normalises as containerd's CRI plugin does before it pulls (internal/cri/server/images/image_pull.go).
func canonical(text string) string {
	named, err := reference.ParseDockerRef(text)
	if err != nil {
		return ""
	}
	return named.String()
}
