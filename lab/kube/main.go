// Command kubelab is every Go component of the lab's node in one binary: one link instead of seven,
// and the packages that they share are compiled and stored once.
//
//	kubelab etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy|coredns|volumes [flags]
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// kubernetes makes the command of one Kubernetes component; each parses os.Args itself.
var kubernetes = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy":              proxy.NewProxyCommand,
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "kubelab: name a component")
		os.Exit(2)
	}
	// The component sees its own name as argv[0], as if it were a program of its own.
	os.Args = os.Args[1:]
	switch name := os.Args[0]; name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "coredns":
		coremain.Run()
	case "volumes":
		if err := volumes(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "volumes: %v\n", err)
			os.Exit(1)
		}
	default:
		command, known := kubernetes[name]
		if !known {
			fmt.Fprintf(os.Stderr, "kubelab: no component %q\n", name)
			os.Exit(2)
		}
		os.Exit(cli.Run(command()))
	}
}
