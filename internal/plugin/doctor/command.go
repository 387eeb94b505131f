package doctor

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

var preface = []string{
	"Asked from this machine, not from the cluster, with the operator's own code.",
	"No credential is sent and nothing is registered.",
}

const examples = `  # What the operator would find at a server, without any cluster
  kubectl mcpc doctor https://mcp.example.com/mcp

  # A connection: its server, and the cluster around it
  kubectl mcpc doctor github --namespace team-a

  # The operator that serves a namespace
  kubectl mcpc doctor --namespace team-a

  # As an operator with these flags would see it
  kubectl mcpc doctor http://127.0.0.1:9000/mcp --allow-insecure-http \
    --egress-allow-cidrs=127.0.0.0/8`

// options are the command's flags.
type options struct {
	RuleFlags
	operatorNamespace string
}

// Command is kubectl mcpc doctor.
func Command(f *kube.Factory) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "doctor [NAME|URL]",
		Short: "Try every step as the operator would, and tell of each request",
		Long: `Tries every step before a consent as the operator would, from this machine, and
prints a numbered report: each URL asked, its status, what was read, which rule
decided, and what to write into the spec. For a connection it looks at the
cluster too; without NAME and URL at the cluster alone. It sends no credential,
registers nothing and writes nothing. Exit code 1 if anything fails.`,
		Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return kube.Exit(kube.ExitUsage, "doctor wants the name of one connection, the URL of one MCP server, or nothing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Complete(f); err != nil {
				return err
			}
			report, err := o.run(cmd.Context(), f, strings.Join(args, ""))
			if err != nil {
				return err
			}
			if cmd.Context().Err() != nil { // what was not asked any more looks like a finding
				return kube.Interrupted(cmd.Context())
			}
			if err := report.Write(f.Out); err != nil {
				return err
			}
			if report.Failed() {
				return kube.Exit(kube.ExitFailed, "%s", counted(report.count(Failure), "failure"))
			}
			return nil
		},
	}
	fs := cmd.Flags()
	o.Add(fs)
	fs.StringVar(&o.Rules.ExternalURL, "external-url", "", "URL of the operator's pages. Default: what its "+
		"Deployment says.")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "", "Namespace of the operator. Default: where its "+
		"Deployment is found.")
	return cmd
}

// run makes the report on a server or a connection.
func (o *options) run(ctx context.Context, f *kube.Factory, subject string) (*Report, error) {
	if strings.Contains(subject, "://") {
		return o.server(ctx, f, subject)
	}
	return o.connection(ctx, f, subject)
}

func (o *options) server(ctx context.Context, f *kube.Factory, serverURL string) (*Report, error) {
	x := &Examination{Spec: v1alpha1.MCPConnectionSpec{ServerURL: serverURL}, Rules: o.Rules, Whole: true, Now: f.Now}
	report := &Report{Subject: "MCP server " + shownText(serverURL), Preface: preface}
	return report, report.examine(ctx, x)
}

// connection looks at a connection, or without a name at the installation alone.
func (o *options) connection(ctx context.Context, f *kube.Factory, name string) (*Report, error) {
	namespace, err := f.Namespace()
	if err != nil {
		return nil, err
	}
	config, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	target := &Target{Config: config, Namespace: namespace, OperatorNamespace: o.operatorNamespace, Rules: o.Rules,
		Now: f.Now}
	if name == "" {
		return target.Examine(ctx)
	}
	if _, target.Connection, err = f.Connection(ctx, name); err != nil {
		return nil, err
	}
	return target.Examine(ctx)
}
