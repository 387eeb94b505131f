package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-connection/operator/internal/plugin/doctor"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

const examples = `  # A bundle to attach to an issue, in this folder
  kubectl mcpc report github --namespace team-a

  # Into a file of your own, with the log of the last hour
  kubectl mcpc report github -o github.tar.gz --since 1h`

// options are the command's flags.
type options struct {
	doctor.RuleFlags
	output, operatorNamespace string
	since                     time.Duration
}

// Command is kubectl mcpc report.
func Command(f *kube.Factory) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "report NAME",
		Short: "Write a redacted bundle to attach to an issue",
		Long: `Writes one tar.gz with the object, its events and conditions, versions, the
operator's log lines about it, and what doctor says. No Secret is read, and what
may be secret is left out: the README in the bundle says what. Look through it
before you attach it.`,
		Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return kube.Exit(kube.ExitUsage, "report wants the name of one connection")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Complete(f); err != nil {
				return err
			}
			return o.run(cmd.Context(), f, args[0])
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.output, "output", "o", "", "File to write. Default: mcpc-report-<namespace>-<name>-<time>.tar.gz")
	fs.DurationVar(&o.since, "since", 24*time.Hour, "How far back the operator's log is read.")
	fs.StringVar(&o.Rules.ExternalURL, "external-url", "", "URL of the operator's pages. Default: what its "+
		"Deployment says.")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "", "Namespace of the operator. Default: where its "+
		"Deployment is found.")
	o.Add(fs)
	return cmd
}

func (o *options) run(ctx context.Context, f *kube.Factory, name string) error {
	_, conn, err := f.Connection(ctx, name)
	if err != nil {
		return err
	}
	config, err := f.RESTConfig()
	if err != nil {
		return err
	}
	b := &source{config: config, connection: conn, operatorNamespace: o.operatorNamespace, rules: o.Rules, since: o.since,
		now: f.Now, version: f.Version}
	files, err := b.files(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // what was not read any more looks like something that cannot be read
		return kube.Interrupted(ctx)
	}
	now := f.Now()
	folder := fmt.Sprintf("mcpc-report-%s-%s-%s", conn.Namespace, conn.Name, now.UTC().Format("20060102T150405Z"))
	if o.output == "" {
		o.output = folder + ".tar.gz"
	}
	var out bytes.Buffer
	if err := archive(&out, folder, files, now); err != nil {
		return err
	}
	if err := writeNew(o.output, out.Bytes()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.Out, "%s\n", o.output)
	if err != nil {
		return fmt.Errorf("name the bundle: %w", err)
	}
	return nil
}

// writeNew writes a file that does not exist yet, for its owner alone: one that exists may be read by others, or be
// another report.
func writeNew(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the person names the file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the bundle is not written over a file that exists: move it away, or name another with "+
			"--output; it is %s", path)
	}
	if err == nil {
		_, err = file.Write(content)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}
