package plugin

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/doctor"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

type createOptions struct {
	doctor.RuleFlags
	apply, noDiscovery, assumePKCE bool
	scopes                         []string
	issuer, credentials, secret    string
}

func createCommand(f *kube.Factory) *cobra.Command {
	o := &createOptions{}
	cmd := &cobra.Command{
		Use:   "create NAME URL",
		Short: "Look at an MCP server and print a manifest, or apply it",
		Long: `Look at an MCP server, say on standard error what was found, and print the
manifest of a connection to it, or apply it. Only what the server needs is
written: for one that follows the specification that is its URL.

It looks from here, as the operator would look from the cluster, and sends no
credential. A server that cannot be reached from here is left to the operator.`,
		Example: `  kubectl mcpc create notion https://mcp.notion.com/mcp
  kubectl mcpc create notion https://mcp.notion.com/mcp -n agents --apply
  kubectl mcpc create github https://api.githubcopilot.com/mcp/ \
    --credentials-secret github-app`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return o.run(cmd.Context(), f, arguments[0], arguments[1])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.apply, "apply", false, "Apply the manifest instead of printing it.")
	flags.StringSliceVar(&o.scopes, "scope", nil, "Scope to ask for, instead of the automatic choice; may be repeated.")
	flags.StringVar(&o.issuer, "issuer", "", "Authorization server to trust, where the server's documents do "+
		"not say enough.")
	flags.BoolVar(&o.assumePKCE, "assume-pkce-s256", false, "Trust that the authorization server supports PKCE with "+
		"S256 although its metadata do not say so; only if its documentation does.")
	flags.StringVar(&o.credentials, "credentials-secret", "", "Secret in the namespace with client_id and "+
		"client_secret, for servers that register nobody.")
	flags.StringVar(&o.secret, "token-secret", "", "Name of the token Secret. Default: NAME-token.")
	flags.BoolVar(&o.noDiscovery, "no-discovery", false, "Do not look at the server.")
	o.Add(flags)
	return cmd
}

func (o *createOptions) run(ctx context.Context, f *kube.Factory, name, server string) error {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return kube.Exit(kube.ExitUsage, "%q is no name for a connection: %s", name, problems[0])
	}
	if err := checkURL(server); err != nil {
		return err
	}
	if err := o.Complete(f); err != nil {
		return err
	}
	if o.Rules.ProxyURL == nil {
		o.Rules.ProxyURL = proxy()
	}
	namespace, err := f.Namespace()
	if err != nil {
		return err
	}
	m := &v1alpha1.MCPConnection{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MCPConnection"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       o.spec(server),
	}
	if !o.noDiscovery {
		s := &scout{progress: progress{f: f}, rules: &o.Rules}
		if err := s.explore(ctx, &m.Spec); err != nil {
			return err
		}
	}
	if c := m.Spec.Client; c != nil && c.CredentialsSecretRef != nil && c.Issuer == "" && o.issuer == "" {
		return kube.Exit(kube.ExitUsage, "--credentials-secret needs the issuer that the credentials belong to, and it was "+
			"not discovered: add --issuer")
	}
	manifest, err := yaml.Marshal(m)
	if err != nil {
		return err
	}
	if !o.apply {
		_, err := f.Out.Write(manifest)
		return err
	}
	return o.send(ctx, f, m, manifest)
}

// checkURL refuses what the API server would, before anything is asked.
func checkURL(server string) error {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return kube.Exit(kube.ExitUsage, "the server's URL must be a whole one, such as https://mcp.example.com/mcp")
	case u.User != nil:
		return kube.Exit(kube.ExitUsage, "the server's URL must have no user name or password: remove everything up to @")
	case u.Fragment != "" || strings.Contains(server, "#"):
		return kube.Exit(kube.ExitUsage, "the server's URL must have no fragment: remove everything from # on")
	}
	return nil
}

// spec is what the flags say.
func (o *createOptions) spec(server string) v1alpha1.MCPConnectionSpec {
	spec := v1alpha1.MCPConnectionSpec{ServerURL: server}
	for _, scope := range o.scopes {
		spec.Scopes = append(spec.Scopes, v1alpha1.Scope(scope))
	}
	if o.issuer != "" {
		spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: o.issuer}
	}
	if o.credentials != "" {
		spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: o.credentials}}
	}
	if o.assumePKCE {
		spec.Compatibility = &v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(true)}
	}
	if o.secret != "" {
		spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: o.secret}
	}
	return spec
}

// unclaimed is an error if a connection of that name leads to another server: its workloads would be led elsewhere.
func unclaimed(ctx context.Context, c client.Reader, m *v1alpha1.MCPConnection) error {
	old := &v1alpha1.MCPConnection{}
	err := c.Get(ctx, client.ObjectKeyFromObject(m), old)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return kube.Explain(fmt.Errorf("read MCPConnection %s/%s: %w", m.Namespace, m.Name, err))
	case err == nil && old.Spec.ServerURL != m.Spec.ServerURL:
		return kube.Exit(kube.ExitFailed, "%s/%s exists already, and leads to %s: choose another name, or edit it: kubectl "+
			"edit mcpc %s -n %s",
			m.Namespace, m.Name, old.Spec.ServerURL, m.Name, m.Namespace)
	}
	return nil
}

// send applies a manifest on the server's side, as the plugin's own field manager, and takes no field from another.
func (o *createOptions) send(ctx context.Context, f *kube.Factory, m *v1alpha1.MCPConnection, manifest []byte) error {
	c, err := f.Client()
	if err != nil {
		return err
	}
	if err := unclaimed(ctx, c, m); err != nil {
		return err
	}
	err = c.Patch(ctx, m, client.RawPatch(types.ApplyPatchType, manifest), client.FieldOwner(kube.FieldManager))
	switch {
	case apierrors.IsConflict(err):
		return kube.Exit(kube.ExitFailed, "%s/%s exists and a field that differs was not set by create: edit it where it "+
			"was set, or choose another name (%w)", m.Namespace, m.Name, err)
	case apierrors.IsNotFound(err) && strings.Contains(err.Error(), "namespaces"):
		return kube.Exit(kube.ExitFailed, "there is no namespace %s: kubectl create namespace %s", m.Namespace, m.Namespace)
	case err != nil:
		return kube.Explain(fmt.Errorf("apply MCPConnection %s/%s: %w", m.Namespace, m.Name, err))
	}
	_, err = fmt.Fprintf(f.Out, "%s/%s is applied; next: kubectl mcpc authorize %s -n %s\n", m.Namespace, m.Name, m.Name,
		m.Namespace)
	return err
}
