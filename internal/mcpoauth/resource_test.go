package mcpoauth

import (
	"net/url"
	"slices"
	"testing"
)

func TestResourceCovers(t *testing.T) {
	for _, tt := range []struct {
		resource, server string
		want             bool
	}{
		{"https://a.example/api", "https://a.example/api/mcp", true},
		{"https://a.example/api/", "https://a.example/api/mcp", true},
		{"https://a.example/api", "https://a.example/api-evil", false},
		{"https://a.example", "https://a.example/mcp", true},
		{"https://A.example:443/mcp", "https://a.example/mcp", true},
		{"http://a.example/mcp", "https://a.example/mcp", false},
		{"https://a.example:8443/mcp", "https://a.example/mcp", false},
		{"https://b.example/mcp", "https://a.example/mcp", false},
		{"https://a.example.evil/mcp", "https://a.example/mcp", false},
		{"https://x@a.example/mcp", "https://a.example/mcp", false},
		{"https://a.example/mcp#x", "https://a.example/mcp", false},
		{"https://a.example/mcp?x=1", "https://a.example/mcp?x=1", true},
		{"https://a.example/mcp", "https://a.example/mcp?x=1", true},
		{"https://a.example/mcp?x=2", "https://a.example/mcp?x=1", false},
		{"https://a.example/mcp?x=2", "https://a.example/mcp", false},
		{"https://a.example/?x=1", "https://a.example/mcp?x=1", false},
		{"https://a.example/api", "https://a.example/api/../other", false},
		{"https://a.example/api", "https://a.example/api/%2E%2e/other", false},
		{"https://a.example/a%2Fb", "https://a.example/a/b", false},
		{"https://[::1]:443/mcp", "https://[::1]/mcp", true},
		{"urn:x", "https://a.example/mcp", false},
		{"/mcp", "https://a.example/mcp", false},
		{"::", "https://a.example/mcp", false},
	} {
		u, err := url.Parse(tt.server)
		if err != nil {
			t.Fatal(err)
		}
		if got := resourceCovers(tt.resource, u); got != tt.want {
			t.Errorf("%s covers %s: %v", tt.resource, tt.server, got)
		}
	}
}

func TestResourceLocations(t *testing.T) {
	for server, want := range map[string][]string{
		"https://a.example":     {"https://a.example" + resourceWellKnown},
		"https://a.example/":    {"https://a.example" + resourceWellKnown},
		"https://a.example/x/y": {"https://a.example" + resourceWellKnown + "/x/y", "https://a.example" + resourceWellKnown},
		"https://a.example/x%2Fy?q=1": {"https://a.example" + resourceWellKnown + "/x%2Fy?q=1", "https://a.example" +
			resourceWellKnown},
		"https://a.example:8443/mcp/": {"https://a.example:8443" + resourceWellKnown + "/mcp/", "https://a.example:8443" +
			resourceWellKnown},
		"https://a.example/?tenant=one": {"https://a.example" + resourceWellKnown + "?tenant=one", "https://a.example" +
			resourceWellKnown},
	} {
		u, _ := url.Parse(server)
		if got := resourceLocations(u, ""); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", server, got, want)
		}
	}
}
