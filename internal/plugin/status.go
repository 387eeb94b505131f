package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

// eventsPatience bounds the wait for events, without which the screen is worth as much.
const eventsPatience = 5 * time.Second

func statusCommand(f *kube.Factory) *cobra.Command {
	watch := false
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show one connection: how far it is, and what to do next",
		Long: `Show one connection on one screen: each step with the reason, times, server,
scopes, what fails and when it is tried again, what to do next, and recent
events.

With --watch it is drawn again as things change, until ctrl-C.`,
		Example: `  kubectl mcpc status notion
  kubectl mcpc status notion -n agents --watch`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: oneName(f),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			return status(cmd.Context(), f, arguments[0], watch)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "draw it again as things change, until ctrl-C")
	return cmd
}

func status(ctx context.Context, f *kube.Factory, name string, watch bool) error {
	c, m, err := f.Connection(ctx, name)
	if err != nil {
		return err
	}
	if !watch {
		_, err = fmt.Fprint(f.Out, drawn(ctx, f, c, m))
		return err
	}
	last, trouble := "", ""
	show := func(m *v1alpha1.MCPConnection) error {
		screen := drawn(ctx, f, c, m)
		if trouble != "" {
			screen += "\n" + trouble + "\n"
		}
		return redraw(f, &last, m, screen)
	}
	err = f.Follow(ctx, c, m, func(seen *v1alpha1.MCPConnection) (bool, error) {
		m, trouble = seen, ""
		return false, show(seen)
	}, func(err error) {
		trouble = err.Error()
		_ = show(m)
	})
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil // ctrl-C is how a person ends it
	}
	return err
}

// redraw puts a screen in the place of the last one on a terminal, if it is another. Elsewhere it follows it, and only
// if the object changed.
func redraw(f *kube.Factory, last *string, m *v1alpha1.MCPConnection, screen string) error {
	if t := f.OutTerminal(); t.Is && !t.Dumb {
		screen = fitted(screen, t.Height)
		if *last == screen {
			return nil
		}
		begin := "\x1b[H" // to the corner, over the last screen, so that nothing flickers
		if *last == "" {
			begin += "\x1b[2J"
		}
		*last = screen
		_, err := fmt.Fprint(f.Out, begin+strings.ReplaceAll(screen, "\n", "\x1b[K\n")+"\x1b[J")
		return err
	}
	if *last == m.ResourceVersion {
		return nil
	}
	if *last != "" {
		screen = "\n" + strings.Repeat("-", 8) + "\n\n" + screen
	}
	*last = m.ResourceVersion
	_, err := fmt.Fprint(f.Out, screen)
	return err
}

// fitted is what of a screen fits a number of lines, for what scrolls away cannot be drawn over; 0 is no limit.
func fitted(screen string, height int) string {
	lines := strings.SplitAfter(screen, "\n")
	if height < 2 || len(lines) <= height { // the last one is empty, and the cursor's
		return screen
	}
	return strings.Join(lines[:height-2], "") + "…\n"
}

// drawn is the screen about a connection. Without the right to read events it has none.
func drawn(ctx context.Context, f *kube.Factory, c client.Reader, m *v1alpha1.MCPConnection) string {
	found, _ := events(ctx, c, m)
	return view.Screen{Style: view.StyleOf(f.OutTerminal()), Now: f.Now(), Events: found}.Status(m)
}

// events about a connection.
func events(ctx context.Context, c client.Reader, m *v1alpha1.MCPConnection) ([]corev1.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, eventsPatience)
	defer cancel()
	found := &corev1.EventList{}
	if err := c.List(ctx, found, client.InNamespace(m.Namespace),
		client.MatchingFields{"involvedObject.uid": string(m.UID)}); err != nil {
		return nil, fmt.Errorf("list events of %s/%s: %w", m.Namespace, m.Name, err)
	}
	return found.Items, nil
}
