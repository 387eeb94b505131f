package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mcp-connection/operator/test/harness"
)

// plane is an API server with nothing in it but the kind HTTPRoute.
type plane struct {
	*harness.ControlPlane
}

// shared is the API server of all tests, and dir the folder of what they write.
var (
	shared *plane
	env    = &envtest.Environment{ControlPlaneStartTimeout: patience, ControlPlaneStopTimeout: patience}
	dir    string
)

func TestMain(m *testing.M) {
	var err error
	if dir, err = os.MkdirTemp("", "mcp-connection-chart-"); err != nil {
		panic(err)
	}
	code := m.Run()
	if shared != nil {
		err = env.Stop()
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// startPlane starts it for the first test that wants it.
func startPlane(t *testing.T) *plane {
	t.Helper()
	if err := startOnce(); err != nil {
		t.Fatal(err)
	}
	return shared
}

var startOnce = sync.OnceValue(func() (err error) {
	ctx := context.Background()
	if env.BinaryAssetsDirectory, err = harness.Assets(ctx); err != nil {
		return err
	}
	route, err := httpRouteCRD()
	if err != nil {
		return err
	}
	env.CRDDirectoryPaths, env.ErrorIfCRDPathMissing = []string{route}, true
	if _, err := env.Start(); err != nil {
		return err
	}
	kubeconfig := filepath.Join(dir, "admin.kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		return errors.Join(err, env.Stop())
	}
	attached, err := harness.AttachControlPlane(kubeconfig, nil)
	if err != nil {
		return errors.Join(err, env.Stop())
	}
	attached.Dir = dir
	shared = &plane{attached}
	return nil
})

// binary is the operator's, built once.
var binary = sync.OnceValues(func() (string, error) {
	file := filepath.Join(dir, "operator")
	return file, harness.Build(context.Background(), file, "cmd")
})

func operator(t *testing.T) string {
	t.Helper()
	file, err := binary()
	must(t, err)
	return file
}

// create waits until the API server serves the kind: a CRD that was applied just now takes a moment.
func (p *plane) create(t *testing.T, o client.Object) {
	t.Helper()
	must(t, wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			err := p.Client.Create(ctx, o)
			if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil, err
		}))
}

// shortNames are those of the kind in the cluster's CRD.
func (p *plane) shortNames(t *testing.T) []string {
	t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1",
		Kind: "CustomResourceDefinition"})
	must(t, p.Client.Get(t.Context(), client.ObjectKey{Name: "mcpconnections.mcp-connection.dev"}, crd))
	names, _, err := unstructured.NestedStringSlice(crd.Object, "spec", "names", "shortNames")
	must(t, err)
	return names
}

// runJobs does for the next Job what a cluster's nodes do: it runs the container's command, under the pod's account. It
// returns what that says.
func (p *plane) runJobs(t *testing.T) <-chan string {
	t.Helper()
	said := make(chan string, 1)
	file := operator(t)
	go func() {
		out, err := p.runJob(t.Context(), file)
		if err != nil {
			t.Error(err)
		}
		said <- out
	}()
	return said
}

func (p *plane) runJob(ctx context.Context, file string) (said string, err error) {
	job := &batchv1.Job{}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		var jobs batchv1.JobList
		err := p.Client.List(ctx, &jobs, client.InNamespace(harness.OperatorNamespace))
		for i := range jobs.Items {
			if j := &jobs.Items[i]; j.Status.StartTime == nil && j.DeletionTimestamp == nil {
				job = j
			}
		}
		return job.Name != "", err
	})
	if err != nil {
		return "", fmt.Errorf("waiting for a Job: %w", err)
	}
	pod := job.Spec.Template.Spec
	if pod.ServiceAccountName != harness.OperatorServiceAccount {
		return "", fmt.Errorf("the Job runs as %s", pod.ServiceAccountName)
	}
	kubeconfig, err := p.OperatorKubeconfig(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, file, append(pod.Containers[0].Args, "--kubeconfig="+kubeconfig)...)
	for _, e := range pod.Containers[0].Env {
		value := e.Value
		if e.Name == "POD_NAMESPACE" {
			value = job.Namespace
		}
		cmd.Env = append(cmd.Env, e.Name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed := cmd.Run()
	var exit *exec.ExitError
	if failed != nil && (!errors.As(failed, &exit) || exit.ExitCode() != 1) {
		return out.String(), fmt.Errorf("%v: %w: %s", cmd.Args, failed, out.String())
	}
	return out.String(), p.finish(ctx, job, failed == nil)
}

// finish says of a Job how it ended.
func (p *plane) finish(ctx context.Context, job *batchv1.Job, well bool) error {
	now := metav1.Now()
	conditions := []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed}
	job.Status = batchv1.JobStatus{StartTime: &now, Failed: 1}
	if well {
		conditions = []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete}
		job.Status = batchv1.JobStatus{StartTime: &now, CompletionTime: &now, Succeeded: 1}
	}
	for _, c := range conditions {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: c, Status: corev1.ConditionTrue,
			LastTransitionTime: now, LastProbeTime: now})
	}
	return p.Client.Status().Update(ctx, job)
}
