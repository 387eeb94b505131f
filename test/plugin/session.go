package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// recorder runs commands on the stage and keeps what a terminal would show.
type recorder struct {
	*stage
	text  strings.Builder
	plain *strings.Replacer
}

// record plays a first hour with the plugin: from nothing to a token, a look around, a leak.
func record(ctx context.Context, s *stage) (string, error) {
	if err := s.stay(namespace); err != nil {
		return "", err
	}
	server := oauthtest.Start(oauthtest.Config{})
	defer server.Close()
	r := &recorder{stage: s, plain: strings.NewReplacer(
		server.URL, "http://127.0.0.1:9000", "localhost:"+s.port, "localhost:8082",
	)}
	began := time.Now()
	r.shell(ctx, "kubectl mcpc create notion "+server.MCPURL()+" --apply --allow-insecure-http "+
		"--egress-allow-cidrs=127.0.0.0/8")
	r.shell(ctx, "kubectl mcpc authorize notion")
	r.note("two commands, %.1f s, with a scripted browser", time.Since(began).Seconds())
	for _, line := range []string{
		"kubectl mcpc list -A",
		"kubectl mcpc status notion",
		"kubectl mcpc refresh notion",
		"kubectl mcpc token notion",
		"kubectl mcpc suspend notion",
		"kubectl mcpc resume notion",
		"kubectl mcpc revoke notion --yes",
		"kubectl mcpc status notion",
		"kubectl mcpc wait notion --timeout 2s",
	} {
		r.shell(ctx, line)
	}
	return "\n```console\n" + tickets.ReplaceAllString(r.plain.Replace(r.text.String()), "/connect/…") + "```\n\n", nil
}

// tickets are links' secret parts.
var tickets = regexp.MustCompile(`/connect/[A-Za-z0-9_-]+`)

// shell runs a line and records both of its streams as they come, and an exit code that is not 0.
func (r *recorder) shell(ctx context.Context, line string) {
	fmt.Fprintf(&r.text, "$ %s\n", line)
	cmd := r.stage.shell(ctx, line)
	cmd.Stdout, cmd.Stderr = &r.text, &r.text
	if err := cmd.Run(); err != nil {
		r.note("%s", err)
	}
}

func (r *recorder) note(format string, arguments ...any) {
	fmt.Fprintf(&r.text, "# "+format+"\n", arguments...)
}

// stay makes a namespace that of the kubeconfig's context.
func (s *stage) stay(namespace string) error {
	config, err := clientcmd.LoadFromFile(s.plane.Kubeconfig)
	if err != nil {
		return err
	}
	config.Contexts[config.CurrentContext].Namespace = namespace
	return clientcmd.WriteToFile(*config, s.plane.Kubeconfig)
}
