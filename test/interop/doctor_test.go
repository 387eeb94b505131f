package interop

import (
	"context"
	"net/netip"
	"time"

	"github.com/mcp-connection/operator/internal/plugin/doctor"
)

// diagnose has kubectl mcpc doctor look at the server that the operator got on with: it finds no failure, and what it
// finds is what the operator found.
func (s *scenario) diagnose(ctx context.Context) {
	s.Helper()
	rules := doctor.Rules{AllowInsecureHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("::1/128")}, ExternalURL: s.operator.ExternalURL}
	x := &doctor.Examination{Spec: s.connection.Spec, Rules: rules, Now: time.Now}
	findings, advice, spec, err := x.Run(ctx)
	s.must(err)
	for _, f := range findings {
		if f.Level == doctor.Failure {
			s.Errorf("doctor: %s: %q", f.Title, f.Notes)
		}
	}
	if spec != "" || len(findings) < 6 {
		s.Errorf("doctor advises %q and %q after %d findings", advice, spec, len(findings))
	}
	found, err := rules.Discover(ctx, &s.connection.Spec, time.Now)
	s.must(err)
	status := s.connection.Status
	if found.AuthorizationServer.Issuer != status.AuthorizationServer.Issuer ||
		found.AuthorizationServer.TokenEndpoint != status.AuthorizationServer.TokenEndpoint ||
		found.Resource != status.Resource {
		s.Errorf("doctor finds issuer %s and resource %s, the operator %s and %s", found.AuthorizationServer.Issuer,
			found.Resource, status.AuthorizationServer.Issuer, status.Resource)
	}
}
