package controller

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ticketOf is the secret of a link.
func ticketOf(link string) string { return link[strings.LastIndexByte(link, '/')+1:] }

const day = 24 * time.Hour

const refusedToken = `Bearer error="invalid_token", resource_metadata="https://mcp.example.com/m"`

func shown(conn *v1alpha1.MCPConnection, name string) string {
	c := meta.FindStatusCondition(conn.Status.Conditions, name)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

const (
	succeeded   = "True Succeeded"
	reconciling = "Reconciling"
	stalled     = "Stalled"
)

// quotedLast is the value that a message ends with.
func quotedLast(t testing.TB, message string) string {
	t.Helper()
	parts := strings.Split(message, `"`)
	if len(parts) < 3 || parts[len(parts)-1] != "" {
		t.Fatalf("the message ends with no value: %s", message)
	}
	return parts[len(parts)-2]
}
