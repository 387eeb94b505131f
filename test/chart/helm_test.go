package chart

import (
	"context"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/kube"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/mcp-connection/operator/test/harness"
)

// values are given to a release.
type values = map[string]any

// kubernetes is the least that the chart says it wants.
var kubernetes = &common.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}

// chartDir is the chart's folder.
func chartDir() string { return harness.InRepository("charts", "mcp-connection-operator") }

// dryRun is helm template.
func dryRun(t *testing.T, dir string, given values) (*releasev1.Release, error) {
	t.Helper()
	made, err := loader.Load(dir)
	must(t, err)
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy, install.ReleaseName, install.Namespace = action.DryRunClient, "r", harness.OperatorNamespace
	install.KubeVersion = kubernetes
	done, err := install.RunWithContext(t.Context(), made, given)
	if err != nil {
		return nil, err
	}
	return done.(*releasev1.Release), nil
}

// template is what helm template prints, the hooks included.
func template(t *testing.T, given values) map[string]*object {
	t.Helper()
	return templateOf(t, chartDir(), given)
}

// templateOf is the same for another chart.
func templateOf(t *testing.T, dir string, given values) map[string]*object {
	t.Helper()
	r, err := dryRun(t, dir, given)
	must(t, err)
	manifest := r.Manifest
	for _, hook := range r.Hooks {
		manifest += "\n---\n" + hook.Manifest
	}
	return parse(t, manifest)
}

// notes are what helm install says at its end.
func notes(t *testing.T, given values) string {
	t.Helper()
	r, err := dryRun(t, chartDir(), given)
	must(t, err)
	return r.Info.Notes
}

// refusal is why values are not taken; nil: they are.
func refusal(t *testing.T, given values) error {
	t.Helper()
	_, err := dryRun(t, chartDir(), given)
	return err
}

func TestTheChartIsLintedClean(t *testing.T) {
	for name, given := range map[string]values{"no value": nil, "the first release's values": firstRelease(t)} {
		lint := action.NewLint()
		lint.Strict, lint.Namespace, lint.KubeVersion = true, harness.OperatorNamespace, kubernetes
		result := lint.Run([]string{chartDir()}, given)
		for _, message := range result.Messages {
			if !strings.Contains(message.Error(), "icon is recommended") {
				t.Errorf("%s: %s", name, message)
			}
		}
		if result.TotalChartsLinted != 1 || len(result.Errors) > 0 {
			t.Errorf("%s: %d charts, %v", name, result.TotalChartsLinted, result.Errors)
		}
	}
}

// helmClient is helm for one namespace of the cluster.
type helmClient struct {
	config    *action.Configuration
	namespace string
	ctx       context.Context
}

// helm is a new one each time, as the command line is.
func (p *plane) helm(t *testing.T, namespace string) *helmClient {
	t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &p.Kubeconfig, &namespace
	c := &helmClient{config: action.NewConfiguration(), namespace: namespace, ctx: t.Context()}
	must(t, c.config.Init(flags, namespace, "secret"))
	return c
}

func (c *helmClient) install(name, dir string, given values) error {
	made, err := loader.Load(dir)
	if err != nil {
		return err
	}
	install := action.NewInstall(c.config)
	install.ReleaseName, install.Namespace, install.CreateNamespace = name, c.namespace, true
	install.WaitStrategy, install.Timeout = kube.HookOnlyStrategy, patience
	_, err = install.RunWithContext(c.ctx, made, given)
	return err
}

func (c *helmClient) upgrade(name, dir string, given values) error {
	made, err := loader.Load(dir)
	if err != nil {
		return err
	}
	upgrade := action.NewUpgrade(c.config)
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.Timeout = c.namespace, kube.HookOnlyStrategy, patience
	upgrade.ResetThenReuseValues = true
	_, err = upgrade.RunWithContext(c.ctx, name, made, given)
	return err
}

func (c *helmClient) rollback(name string, revision int) error {
	rollback := action.NewRollback(c.config)
	rollback.Version, rollback.WaitStrategy, rollback.Timeout = revision, kube.HookOnlyStrategy, patience
	return rollback.Run(name)
}

func (c *helmClient) uninstall(name string, noHooks bool) error {
	uninstall := action.NewUninstall(c.config)
	uninstall.DisableHooks, uninstall.WaitStrategy, uninstall.Timeout = noHooks, kube.HookOnlyStrategy, patience
	_, err := uninstall.Run(name)
	return err
}
