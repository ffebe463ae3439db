// A mutating webhook as one writes it with controller-runtime, doing the work of IPS's admission: it copies the opt-in
// to a label, derives which images go to which nodes, and warns of what is written wrongly.
package main

import (
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func main() {
	certDir := flag.String("cert-dir", "", "folder with tls.crt and tls.key")
	port := flag.Int("port", 9443, "port of admission (HTTPS)")
	diff := flag.Bool("diff", false, "make the patch by comparing the object before and after, as controller-runtime's examples do")
	flag.Parse()
	// Logs at level info, and controller-runtime counts and times every request by itself (InstrumentedHook).
	ctrl.SetLogger(zap.New())

	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		fail(err)
	}
	server := webhook.NewServer(webhook.Options{CertDir: *certDir, Port: *port})
	handler := &mutator{decoder: admission.NewDecoder(scheme), diff: *diff}
	server.Register("/mutate", &webhook.Admission{Handler: handler})
	if err := server.Start(ctrl.SetupSignalHandler()); err != nil {
		fail(err)
	}
}

func fail(err error) {
	ctrl.Log.Error(err, "webhook failed")
	os.Exit(1)
}
