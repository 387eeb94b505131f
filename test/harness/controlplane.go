package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

const (
	// OperatorNamespace is where config/default puts the operator.
	OperatorNamespace = "mcp-connection-system"
	// OperatorServiceAccount is the identity that config/default gives to the operator.
	OperatorServiceAccount = "mcp-connection-controller-manager"
)

// ControlPlane is a Kubernetes API with the operator's manifests applied, but no operator in it.
type ControlPlane struct {
	// Client acts as administrator.
	Client client.Client
	// Config is what Client was made from.
	Config *rest.Config
	// Kubeconfig is a file for kubectl, as administrator.
	Kubeconfig string
	// Dir is a temporary folder, removed by Stop.
	Dir string
	// AuditLog is the file in Dir for what the operator asks of the API server; empty without ControlPlaneOptions.Audit.
	AuditLog string
	// Existing says that the cluster was there before.
	Existing bool

	env       *envtest.Environment
	root      string
	manifests string
	kubectl   string
	installed bool
	logf      Logf
}

// ControlPlaneOptions choose between a new control plane and an existing cluster.
type ControlPlaneOptions struct {
	// Kubeconfig of an existing cluster; empty starts etcd and kube-apiserver.
	Kubeconfig string
	// Manifests is the folder that is applied, seen from the repository's root; default config/default.
	Manifests string
	// Configure may change the environment before it starts, such as flags of the API server.
	Configure func(*envtest.Environment)
	// Audit has a new API server write AuditLog.
	Audit bool
	// Logf gets progress; nil says nothing.
	Logf Logf
}

// StartControlPlane starts etcd and kube-apiserver, or takes an existing cluster, and applies the operator's manifests.
// Whatever it started is stopped again if it fails.
func StartControlPlane(ctx context.Context, o ControlPlaneOptions) (_ *ControlPlane, err error) {
	c := &ControlPlane{Kubeconfig: o.Kubeconfig, Existing: o.Kubeconfig != "", logf: o.Logf}
	if c.logf == nil {
		c.logf = Silent
	}
	if c.root, err = RepoRoot(); err != nil {
		return nil, err
	}
	if o.Manifests == "" {
		o.Manifests = "config/default"
	}
	c.manifests = filepath.Join(c.root, o.Manifests)
	if c.Dir, err = os.MkdirTemp("", "mcp-connection-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if c.Existing {
		err = c.useExisting(ctx)
	} else {
		err = c.startNew(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	if c.Client, err = newClient(c.Config); err != nil {
		return nil, err
	}
	return c, c.install(ctx)
}

// startNew runs etcd and kube-apiserver and writes a kubeconfig for the administrator.
func (c *ControlPlane) startNew(ctx context.Context, o ControlPlaneOptions) error {
	assets, err := Assets(ctx)
	if err != nil {
		return err
	}
	c.kubectl = filepath.Join(assets, "kubectl")
	existing := false
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		UseExistingCluster:       &existing,
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  30 * time.Second,
	}
	if err := EndWithThisProcess(env, assets, c.Dir); err != nil {
		return err
	}
	if o.Configure != nil {
		o.Configure(env)
	}
	if o.Audit {
		if err := c.audit(env); err != nil {
			return err
		}
	}
	// Of envtest, which prints a stack where there is none half a minute after the start of the process.
	ctrllog.SetLogger(logr.Discard())
	c.logf("starting etcd and kube-apiserver")
	c.env = env
	if c.Config, err = env.Start(); err != nil {
		return fmt.Errorf("start the control plane from %s: %w", assets, err)
	}
	c.Kubeconfig = filepath.Join(c.Dir, "admin.kubeconfig")
	return os.WriteFile(c.Kubeconfig, env.KubeConfig, 0o600)
}

// useExisting loads the kubeconfig and finds a kubectl.
func (c *ControlPlane) useExisting(ctx context.Context) (err error) {
	if c.Kubeconfig, err = filepath.Abs(c.Kubeconfig); err != nil {
		return err
	}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return err
	}
	if dir := os.Getenv(envAssets); dir != "" {
		c.kubectl = filepath.Join(dir, "kubectl")
		return nil
	}
	if c.kubectl, err = exec.LookPath("kubectl"); err == nil {
		return nil
	}
	assets, err := Assets(ctx)
	c.kubectl = filepath.Join(assets, "kubectl")
	return err
}

// install applies the manifests. Their Deployment is scaled to 0, because the
// operator under test runs as a child process; one that runs already is not touched.
func (c *ControlPlane) install(ctx context.Context) error {
	var deployments appsv1.DeploymentList
	if err := c.Client.List(ctx, &deployments, client.InNamespace(OperatorNamespace)); err != nil {
		return err
	}
	for _, d := range deployments.Items {
		if d.Spec.Replicas == nil || *d.Spec.Replicas > 0 {
			return fmt.Errorf("namespace %s already runs an operator (Deployment %s), which would compete: scale it to 0 first",
				OperatorNamespace, d.Name)
		}
	}
	err := c.Client.Get(ctx, client.ObjectKey{Name: OperatorNamespace}, &corev1.Namespace{})
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	c.installed = apierrors.IsNotFound(err)
	c.logf("applying the operator's manifests: CRD, ServiceAccount, Roles")
	for _, args := range [][]string{
		{"apply", "--server-side", "--force-conflicts", "-k", c.manifests},
		{"scale", "deployment", "--all", "--replicas=0", "-n", OperatorNamespace},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/mcpconnections." + v1alpha1.GroupVersion.Group},
	} {
		if _, err := c.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// KubectlPath is the kubectl that Kubectl runs.
func (c *ControlPlane) KubectlPath() string { return c.kubectl }

// Installed reports whether Stop removes from an existing cluster what StartControlPlane installed there.
func (c *ControlPlane) Installed() bool { return c.installed }

// Kubectl runs kubectl as administrator and returns what it prints.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectlWithInput(ctx, "", args...)
}

func (c *ControlPlane) kubectlWithInput(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	cmd.Stdin = strings.NewReader(input)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err,
			strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// Namespace creates a namespace unless it exists.
func (c *ControlPlane) Namespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{}
	namespace.Name = name
	if err := c.Client.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// Stop stops what StartControlPlane started; from an existing cluster it removes what it installed there.
func (c *ControlPlane) Stop() error {
	var errs []error
	if c.Existing && c.installed {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := c.Kubectl(ctx, "delete", "--ignore-not-found", "--wait=false", "-k", c.manifests)
		errs = append(errs, err)
	}
	if c.env != nil {
		errs = append(errs, c.env.Stop())
		c.env = nil
	}
	return errors.Join(append(errs, os.RemoveAll(c.Dir))...)
}
