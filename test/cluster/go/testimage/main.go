// Command testimage is the one static binary of the test cluster's images. It does what the name it was started
// under says:
//
//	pause    as the upstream pause image: with -v it prints a version and exits 0, otherwise it sleeps
//	trace    tells the cluster's collector that this image was executed, then sleeps
//	collect  the collector: writes each trace that comes in by UDP as a line to its standard output
//
// It uses bare system calls instead of package net, which would double its size.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// The collector listens on every address of the cluster's network namespace; a pod reaches it by its gateway.
const collectorPort = 9999

var gateway = [4]byte{10, 88, 0, 1}

func main() {
	switch filepath.Base(os.Args[0]) {
	case "pause":
		if len(os.Args) > 1 && os.Args[1] == "-v" {
			fmt.Println("pause.go 3.10")
			return
		}
		sleep()
	case "trace":
		if err := send(os.Getenv("TRACE")); err != nil {
			fmt.Fprintln(os.Stderr, "trace:", err)
			os.Exit(1)
		}
		sleep()
	case "collect":
		if err := collect(); err != nil {
			fmt.Fprintln(os.Stderr, "collect:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "unknown name %q\n", os.Args[0])
		os.Exit(2)
	}
}

func sleep() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

func send(text string) error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	return syscall.Sendto(socket, []byte(text), 0, &syscall.SockaddrInet4{Port: collectorPort, Addr: gateway})
}

func collect() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Port: collectorPort}); err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		n, _, err := syscall.Recvfrom(socket, buffer, 0)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", buffer[:n])
	}
}
