package imported

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/plugin/doctor"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

const examples = `  # What mcp-remote keeps for a server; it has to be stopped first
  kubectl mcpc import notion https://mcp.notion.com/mcp --mcp-remote --apply

  # A grant in JSON: refresh_token, client_id, client_secret, issuer
  kubectl mcpc import files https://mcp.example.com/mcp --apply \
    --from=grant.json

  # The manifests, for another hand
  kubectl mcpc import files https://mcp.example.com/mcp --from=grant.json |
    kubectl apply --server-side -f -`

// options are the command's flags.
type options struct {
	doctor.RuleFlags
	from, issuer string
	remote       mcpRemote
	apply, force bool
}

// Command is kubectl mcpc import.
func Command(f *kube.Factory) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "import NAME [URL]",
		Short: "Take over a grant that another tool keeps",
		Long: `Makes a connection, and the Secret of its spec.importSecretRef, from a grant
that exists already, so that nobody consents again. The other tool must be
stopped for good: a refresh token has one owner, and most servers end a grant
that two refresh.`,
		Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return kube.Exit(kube.ExitUsage, "import wants the name of the connection to make, and the URL of its MCP server")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(f, args); err != nil {
				return err
			}
			return o.run(cmd.Context(), f, args[0])
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.from, "from", "", "JSON file with refresh_token, client_id, issuer and, for a confidential client, "+
		"client_secret; - is stdin.")
	fs.StringVar(&o.remote.dir, "mcp-remote", "", "Take what mcp-remote keeps, in --mcp-remote=FOLDER or where it looks "+
		"itself: MCP_REMOTE_CONFIG_DIR, else ~/.mcp-auth.")
	fs.Lookup("mcp-remote").NoOptDefVal = usualDir
	fs.StringVar(&o.remote.resource, "resource", "", "The resource parameter that the grant was asked for with, if the "+
		"server's metadata name another (mcp-remote: --resource).")
	fs.StringArrayVar(&o.remote.headers, "header", nil, "A header that mcp-remote runs with: its files are named by "+
		"them. It is not taken over.")
	fs.StringVar(&o.remote.clientInfo, "client-info", "", "File of mcp-remote's --static-oauth-client-info, which it "+
		"does not store.")
	fs.StringVar(&o.issuer, "issuer", "", "Issuer of the authorization server that gave the grant. Default: the "+
		"grant's; without --apply also the one that the MCP server names.")
	fs.BoolVar(&o.apply, "apply", false, "Create both objects in the cluster, instead of printing them.")
	fs.BoolVar(&o.force, "force", false, "Print secrets to a terminal.")
	o.Add(fs)
	return cmd
}

func (o *options) complete(f *kube.Factory, args []string) error {
	if len(args) == 2 {
		o.remote.serverURL = args[1]
	}
	if o.remote.dir == usualDir {
		o.remote.dir = defaultDir()
	}
	switch {
	case (o.from == "") == (o.remote.dir == ""):
		return kube.Exit(kube.ExitUsage, "name one place where the grant is: --from FILE, or --mcp-remote")
	case o.remote.dir != "" && o.remote.serverURL == "":
		return kube.Exit(kube.ExitUsage, "--mcp-remote wants the URL of the MCP server, spelled as mcp-remote's "+
			"command line does")
	case len(validation.IsDNS1123Subdomain(args[0])) > 0:
		return kube.Exit(kube.ExitUsage, "the name of a connection is made of lower-case letters, digits, '-' and '.', and "+
			"begins and ends with a letter or digit")
	case !o.apply && !o.force && f.OutTerminal().Is:
		return kube.Exit(kube.ExitUsage, "the manifests hold a refresh token, which is not printed to a terminal: give "+
			"--apply, pipe the output, or give --force")
	}
	return o.Complete(f)
}

func (o *options) run(ctx context.Context, f *kube.Factory, name string) error {
	g, err := o.grant(ctx, f)
	if err != nil {
		return err
	}
	if err := o.findIssuer(ctx, f, g); err != nil {
		return err
	}
	namespace, err := f.Namespace()
	if err != nil {
		return err
	}
	secret, connection := g.objects(namespace, name, o.remote.resource)
	if !o.apply {
		o.say(f, g, "The output holds a refresh token: pass it on, for instance to kubectl apply --server-side -f -, and "+
			"keep no copy.")
		return write(f.Out, secret, connection)
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if left, err := apply(ctx, c, secret, connection); err != nil {
		if left != "" { // on a line of its own: after ctrl-C the error is not shown
			_, _ = fmt.Fprintln(f.ErrOut, left)
		}
		return err
	}
	o.say(f, g, fmt.Sprintf("Created the Secret %s and the MCPConnection %s in namespace %s. Once it is Ready: kubectl "+
		"-n %s delete secret %s", secret.Name, name, namespace, namespace, secret.Name))
	return nil
}

// say tells the person what else must be done, on stderr.
func (o *options) say(f *kube.Factory, g *grant, last string) {
	for _, note := range append(g.notes, last) {
		_, _ = fmt.Fprintln(f.ErrOut, note)
	}
}

// grant reads and checks it.
func (o *options) grant(ctx context.Context, f *kube.Factory) (*grant, error) {
	var g *grant
	var err error
	if o.from == "" {
		g, err = o.remote.read(ctx)
	} else if g, err = fromFile(ctx, o.from, f.In); err == nil {
		g.notes = append(g.notes, "Stop whatever refreshes this grant today, for good: whoever refreshes too ends the "+
			"grant of both.")
		switch {
		case g.ServerURL == "":
			g.ServerURL = o.remote.serverURL
		case o.remote.serverURL != "" && g.ServerURL != o.remote.serverURL:
			return nil, errors.New("the server_url of the grant is not the URL that was given: one of the two is wrong")
		}
	}
	if err != nil {
		return nil, err
	}
	return g, g.check(f.Now())
}

// findIssuer completes the grant with the issuer that the server names, or checks that the server names the grant's.
func (o *options) findIssuer(ctx context.Context, f *kube.Factory, g *grant) error {
	switch {
	case g.Issuer == "":
		g.Issuer = o.issuer
	case o.issuer != "" && o.issuer != g.Issuer:
		return errors.New("--issuer is not the issuer of the grant: one of the two is wrong")
	}
	spec := &v1alpha1.MCPConnectionSpec{ServerURL: g.ServerURL, ImportSecretRef: &v1alpha1.SecretReference{}}
	if g.Issuer != "" {
		if err := checkURL("issuer", g.Issuer); err != nil {
			return err
		}
		spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: g.Issuer}
	}
	found, err := o.Rules.Discover(ctx, spec, f.Now)
	if ctx.Err() != nil {
		return kube.Interrupted(ctx)
	}
	e := mcpoauth.AsError(err)
	switch {
	case e != nil && g.Issuer == "":
		return fmt.Errorf("the issuer of the grant is not known, and discovery from this machine fails: %w; give --issuer",
			err)
	case e != nil:
		g.notes = append(g.notes, "Not checked whether the server names the grant's issuer, for discovery from this "+
			"machine fails: "+err.Error())
		return nil
	case found.Unlisted != "":
		return fmt.Errorf("the MCP server names another authorization server than the grant's issuer, so the operator "+
			"would not send the token (IssuerChanged): if both are one, write the manifest by hand with "+
			"spec.authorizationServer.issuer: %q", g.Issuer)
	case g.Issuer == "" && o.apply:
		return fmt.Errorf("the grant names no issuer, and the refresh token goes there as soon as it is applied: if the "+
			"one that the MCP server names gave the grant, add --issuer=%s", shellQuoted(found.AuthorizationServer.Issuer))
	case g.Issuer == "":
		g.Issuer = found.AuthorizationServer.Issuer
		g.notes = append(g.notes, "The grant names no issuer. The MCP server names, seen from this machine: "+g.Issuer)
	}
	return nil
}

// shellQuoted is a stranger's text as one word of a shell's command line.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
