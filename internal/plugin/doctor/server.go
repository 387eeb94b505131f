package doctor

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// discoveryTimeout of a whole discovery is the operator's.
const discoveryTimeout = time.Minute

// Rules are the operator's flags that decide what it calls, and as whom.
type Rules struct {
	AllowInsecureHTTP bool
	AllowCIDRs        []netip.Prefix
	AllowAddrs        []netip.AddrPort
	RootCAs           *x509.CertPool
	// ProxyURL to public hosts; nil: none.
	ProxyURL *url.URL
	// ExternalURL of the operator; empty if it is not known or there is none.
	ExternalURL string
	// Timeout of one request; zero is the operator's.
	Timeout time.Duration
	// UserAgent of every request.
	UserAgent string
}

func (r *Rules) client(now func() time.Time, observe func(http.RoundTripper) http.RoundTripper) *mcpoauth.Client {
	return mcpoauth.NewClient(mcpoauth.Options{
		UserAgent: r.UserAgent, AllowInsecureHTTP: r.AllowInsecureHTTP, AllowCIDRs: r.AllowCIDRs, AllowAddrs: r.AllowAddrs,
		RootCAs: r.RootCAs, ProxyURL: r.ProxyURL, Timeout: r.Timeout, Now: now, Observe: observe,
	})
}

// identityProvider reads the metadata of the one that exchanges tokens, as the operator does before its first request.
func (x *Examination) identityProvider(ctx context.Context, issuer string) Finding {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	record := newRecorder(x.Now)
	found, err := x.Rules.client(x.Now, record.wrap).For(x.Spec.ServerURL).IdentityProviderMetadata(ctx, issuer)
	r := requests{}
	for _, e := range record.exchanges() {
		e.read(stageAuthorizationServer)
		r.byStage[stageAuthorizationServer] = append(r.byStage[stageAuthorizationServer], e)
	}
	f := Finding{Title: "Identity provider (spec.identityProvider)", Requests: r.shown(stageAuthorizationServer)}
	if err != nil {
		f.fail("%s", sentence(err.Error()))
		return f
	}
	f.note("Tokens are exchanged at %s (RFC 8693). Not tried.", shownText(found.TokenEndpoint))
	return f
}

// Discover finds the authorization server of a spec from here, as the operator would. Errors are those of mcpoauth.
func (r *Rules) Discover(ctx context.Context, spec *v1alpha1.MCPConnectionSpec,
	now func() time.Time) (*mcpoauth.Discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	return r.client(now, nil).For(spec.ServerURL).Discover(ctx, discovery.Request(spec))
}

// Examination tries the steps of one connection before its consent.
type Examination struct {
	Spec  v1alpha1.MCPConnectionSpec
	Rules Rules
	// Whole has the whole spec printed, not only what is to be changed.
	Whole bool
	Now   func() time.Time

	patch  v1alpha1.MCPConnectionSpec
	advice []string
	// seen are all requests of the first discovery.
	seen []*Exchange
}

// attempt is one discovery.
type attempt struct {
	found *mcpoauth.Discovery
	// err is nil if something was found.
	err      *mcpoauth.Error
	requests requests
	spec     *v1alpha1.MCPConnectionSpec
}

// Run makes the findings of the examination, and what to write into the spec.
func (x *Examination) Run(ctx context.Context) (findings []Finding, advice []string, spec string, err error) {
	if x.Whole {
		x.patch.ServerURL = x.Spec.ServerURL
	}
	first, all := x.try(ctx, x.Spec.DeepCopy())
	x.seen = all
	last := first
	var cautions []string
	for range 3 {
		if last.err == nil {
			break
		}
		todo, known := mend(last.spec, last.err, &last.requests)
		if !known {
			break
		}
		cautions = append(cautions, todo.caution)
		mended := last.spec.DeepCopy()
		todo.apply(mended)
		last, _ = x.try(ctx, mended)
	}
	if first.err != nil && last.usable() {
		for _, caution := range cautions {
			x.advise("%s", caution)
		}
		x.patch.Compatibility, x.patch.AuthorizationServer = last.spec.Compatibility, last.spec.AuthorizationServer
	} else {
		last = first
	}
	findings = x.findings(first, last)
	if p := x.Spec.IdentityProvider; p != nil && p.TokenEndpoint == "" {
		findings = append(findings, x.identityProvider(ctx, p.Issuer))
	}
	spec, err = x.toWrite(last)
	return findings, x.advice, spec, err
}

// usable reports whether a document says what was found: endpoints that are only assumed are no advice.
func (a *attempt) usable() bool {
	return a.err == nil && a.requests.document(stageAuthorizationServer) != nil
}

// try makes one discovery with the operator's own code.
func (x *Examination) try(ctx context.Context, spec *v1alpha1.MCPConnectionSpec) (*attempt, []*Exchange) {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	record := newRecorder(x.Now)
	found, err := x.Rules.client(x.Now, record.wrap).For(spec.ServerURL).Discover(ctx, discovery.Request(spec))
	all, e := record.exchanges(), mcpoauth.AsError(err)
	if e != nil && e.Code == mcpoauth.EgressDenied && len(all) > 0 && all[len(all)-1].Status == "" {
		all[len(all)-1].denied = true
	}
	return &attempt{found: found, err: e, requests: sort(all), spec: spec}, all
}

// findings are those of the first discovery up to its failure, and of the last one, which mended it, from there on.
func (x *Examination) findings(first, last *attempt) []Finding {
	out := first.discovered()
	if first.err == nil {
		return append(out, x.beyond(first)...)
	}
	failed := first.failedAt()
	mended := last != first
	for i := failed + 1; i < len(out); i++ {
		out[i] = Finding{Level: Skipped, Title: out[i].Title, Notes: []string{"Not reached."}}
	}
	if !mended {
		return append(out, Finding{Level: Skipped, Title: "Registration, grant types, scopes, resource indicator",
			Notes: []string{"Not reached."}})
	}
	rest := last.discovered()
	for i := failed + 1; i < len(rest); i++ {
		out[i] = rest[i]
	}
	out = append(out, x.beyond(last)...)
	for i := failed + 1; i < len(out); i++ {
		out[i].Title += " (with the lines below)"
	}
	return out
}

// toWrite is the YAML, and says what it is.
func (x *Examination) toWrite(last *attempt) (string, error) {
	switch {
	case last.err != nil && x.Whole:
		x.advise("Nothing that can be written into the spec is known to help: mend what failed above first.")
		return "", nil
	case x.patch.ServerURL == "" && x.patch.Client == nil && x.patch.Compatibility == nil &&
		x.patch.AuthorizationServer == nil && len(x.patch.Scopes) == 0:
		if last.err == nil {
			x.advise("The spec needs no change.")
		}
		return "", nil
	}
	x.advise("To write into the spec:")
	return pasted(&x.patch)
}

func (x *Examination) advise(format string, arguments ...any) {
	f := Finding{}
	f.note(format, arguments...)
	x.advice = append(x.advice, f.Notes...)
}

// sentence begins a text of mcpoauth as a sentence, and ends it with a full stop, unless a value to paste stands last.
func sentence(text string) string {
	for _, word := range []string{"the ", "authorization ", "host ", "identity "} {
		if strings.HasPrefix(text, word) {
			text = strings.ToUpper(text[:1]) + text[1:]
		}
	}
	if text == "" || strings.HasSuffix(text, `"`) || strings.HasSuffix(text, "`") || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}
