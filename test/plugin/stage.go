package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/test/harness"
)

// Names on the stage.
const (
	node      = "node-1"
	pod       = "mcp-connection-controller-manager-0"
	namespace = "agents"
	// podPort is the callback port of the manifests.
	podPort = 8082
)

// stage is a cluster as config/local leaves it: a real API server, the operator with a loopback external URL, and a
// node whose kubelet forwards to it. The plugin is on the PATH of the real kubectl, and so is a program that opens
// links.
type stage struct {
	plane    *harness.ControlPlane
	operator *harness.Operator
	kubelet  *kubelet
	// bin is the only folder on the PATH.
	bin string
	// port of the external URL.
	port string
}

// start builds the stage; browser is what a shell does with a link, in $1.
func start(ctx context.Context, browser string, logf harness.Logf) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.bin, err = os.MkdirTemp("", "mcp-connection-plugin-"); err != nil {
		return nil, err
	}
	built := make(chan error, 1)
	go func() {
		built <- harness.Build(ctx, filepath.Join(s.bin, "kubectl-mcpc"), "cmd/kubectl-mcpc", "-ldflags=-s -w")
	}()
	if s.plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{Manifests: "config/local",
		Logf: logf}); err != nil {
		return nil, err
	}
	address, err := harness.FreeAddress()
	if err != nil {
		return nil, err
	}
	if _, s.port, err = net.SplitHostPort(address); err != nil {
		return nil, err
	}
	if err := errors.Join(<-built, s.install(browser)); err != nil {
		return nil, err
	}
	if s.operator, err = harness.StartOperator(ctx, s.plane, "--external-url=http://localhost:"+s.port); err != nil {
		return nil, err
	}
	s.kubelet = startKubelet(map[int32]string{podPort: strings.TrimPrefix(s.operator.ExternalURL, "http://")})
	if err := s.schedule(ctx); err != nil {
		return nil, err
	}
	return s, s.plane.Namespace(ctx, namespace)
}

// install puts kubectl, the plugin's completion and a browser beside the plugin.
func (s *stage) install(browser string) error {
	env, err := exec.LookPath("env")
	if err != nil {
		return err
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		return err
	}
	return errors.Join(
		os.Symlink(s.plane.KubectlPath(), filepath.Join(s.bin, "kubectl")),
		os.Symlink(env, filepath.Join(s.bin, "env")),
		os.Symlink(sh, filepath.Join(s.bin, "sh")),
		os.WriteFile(filepath.Join(s.bin, "kubectl_complete-mcpc"), []byte(plugin.CompleteScript), 0o700),
		os.WriteFile(filepath.Join(s.bin, "xdg-open"), []byte("#!/bin/sh\n"+browser+"\n"), 0o700),
	)
}

// schedule makes the node and the operator's pod, which envtest has no kubelet and no scheduler for.
func (s *stage) schedule(ctx context.Context) error {
	machine := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := s.plane.Client.Create(ctx, machine); err != nil {
		return err
	}
	machine.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	machine.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(s.kubelet.port())
	if err := s.plane.Client.Status().Update(ctx, machine); err != nil {
		return err
	}
	return s.runPod(ctx, pod)
}

// runPod makes a pod of the operator that is running and ready.
func (s *stage) runPod(ctx context.Context, name string) error {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: harness.OperatorNamespace, Name: name,
			Labels: map[string]string{"app.kubernetes.io/name": "mcp-connection-operator",
				"control-plane": "controller-manager"},
		},
		Spec: corev1.PodSpec{
			NodeName: node,
			Containers: []corev1.Container{{
				Name: "manager", Image: "controller",
				Ports:           []corev1.ContainerPort{{Name: "callback", ContainerPort: podPort}},
				SecurityContext: restricted(),
			}},
			SecurityContext: &corev1.PodSecurityContext{
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		},
	}
	if err := s.plane.Client.Create(ctx, p); err != nil {
		return err
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return s.plane.Client.Status().Update(ctx, p)
}

// restricted is what the namespace's pod security standard asks for.
func restricted() *corev1.SecurityContext {
	no, yes := false, true
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// stop ends every part.
func (s *stage) stop() error {
	var errs []error
	if s.operator != nil {
		errs = append(errs, s.operator.Stop())
	}
	if s.kubelet != nil {
		s.kubelet.stop()
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.bin))...)
}

// command is kubectl with the plugin, and nothing else, on its PATH.
func (s *stage) command(ctx context.Context, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "kubectl"), arguments...)
	cmd.Env = []string{"PATH=" + s.bin, "KUBECONFIG=" + s.plane.Kubeconfig, "HOME=" + s.plane.Dir}
	cmd.Dir = s.plane.Dir
	return cmd
}

// shell runs a line that a person would paste.
func (s *stage) shell(ctx context.Context, line string) *exec.Cmd {
	cmd := s.command(ctx)
	cmd.Path, cmd.Args = filepath.Join(s.bin, "sh"), []string{"sh", "-c", line}
	return cmd
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
}

// run runs kubectl mcpc.
func (s *stage) run(ctx context.Context, arguments ...string) result {
	return ended(s.command(ctx, append([]string{"mcpc"}, arguments...)...))
}

// ended runs a command to its end.
func ended(cmd *exec.Cmd) result {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	code := 0
	if err := cmd.Run(); err != nil {
		code = -1
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else {
			errOut.WriteString(err.Error())
		}
	}
	return result{out: out.String(), err: errOut.String(), code: code}
}

// create are the arguments for a connection to a server of this machine.
func create(name string, server *oauthtest.Server, more ...string) []string {
	return append([]string{"create", name, server.MCPURL(), "-n", namespace, "--allow-insecure-http",
		"--egress-allow-cidrs=127.0.0.0/8"}, more...)
}
