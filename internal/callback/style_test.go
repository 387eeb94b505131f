package callback

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/credential"
)

// rule is what the style sheet says of a selector outside any media query.
func rule(t *testing.T, selector string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(selector) + ` \{([^}]*)\}`).FindStringSubmatch(string(style))
	if found == nil {
		t.Fatalf("there is no rule for %s", selector)
	}
	return found[1]
}

// Browsers take backgrounds away where colours are forced: the button's edge is what is left of it.
func TestTheButtonHasAnEdgeWhereColoursAreForced(t *testing.T) {
	if got := rule(t, "button"); !regexp.MustCompile(`border: [1-9]\d*px solid`).MatchString(got) {
		t.Errorf("the button has no edge: %s", got)
	}
	if !regexp.MustCompile(`(?s)@media \(forced-colors: active\) \{\s+button \{ border-color: ButtonText; \}`).MatchString(
		string(style)) {
		t.Error("the edge is not visible where colours are forced")
	}
}

// A scope that takes two lines is told from two scopes by its mark.
func TestScopesAreAListThatDoesNotRunTogether(t *testing.T) {
	f := newFake(t, withBinding(func(b *credential.Binding) {
		b.Scopes = strings.Fields(strings.Repeat("files:read ", maxShownScopes+3))
	}))
	w := f.browser().open()
	expect(f, w, http.StatusOK, "<ul>\n<li>files:read</li>\n<li>files:read</li>\n",
		"<li class=\"plain\">and 3 more</li>\n")
	if n := strings.Count(w.Body.String(), "<li>"); n != maxShownScopes {
		t.Errorf("%d scopes are shown, want %d", n, maxShownScopes)
	}
	if got := rule(t, "ul"); strings.Contains(got, "list-style: none") {
		t.Errorf("scopes have no mark: %s", got)
	}
	if got := rule(t, "li + li"); !strings.Contains(got, "margin-top") {
		t.Errorf("scopes have no space between them: %s", got)
	}
}
