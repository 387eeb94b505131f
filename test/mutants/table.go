package main

// mutant is a source file without one of its controls.
type mutant struct {
	name string
	// file is relative to the repository. old stands in it once, and mutated in its place.
	file, old, mutated string
	// tests is a regular expression of the tests and specs that should notice.
	tests string
}

const (
	oauth      = "internal/mcpoauth/"
	pages      = "internal/callback/"
	controller = "internal/controller/"
	lifecycle  = "internal/lifecycle/"
	fairness   = "internal/slots/"
	stored     = "internal/credential/"
)

// mutants are picked by hand, from the controls of docs/security.md.
var mutants = []mutant{
	{"an address is not checked when it is dialled", oauth + "dial.go", `if e := d.rules.check(t); e != nil {`,
		`if e := d.rules.check(t); e != nil && e.class == "" {`, "Egress|Names|Rebinding"},
	{"another answer is dialled than was checked", oauth + "dial.go", "case len(allowed) > 0:\n",
		"case len(allowed) > 0:\n\t\tif again, err := d.resolve(ctx, host, port); err == nil {\n\t\t\tallowed = " +
			"again\n\t\t}\n", "ANameIsNotAskedAgain"},
	{"cloud metadata may be called", oauth + "egress.go", `case slices.Contains(metadataAddrs, addr):`, `case false:`,
		"Egress"},
	{"the API server may be called", oauth + "egress.go", `return d.Addr().Unmap() == addr && d.Port() == target.Port()`,
		`return false`, "Egress"},
	{"loopback needs no permission of the connection", oauth + "egress.go", `case addr.IsLoopback() && !e.loopback:`,
		`case false:`, "Egress|Loopback"},
	{"a range opens the ports of Kubernetes", oauth + "egress.go",
		`return !slices.Contains(clusterPorts, target.Port()) && !e`, `return !e`, "PortsOfKubernetes"},
	{"an embedded address is not unwrapped", oauth + "egress.go", `return append([]netip.Addr{addr}, embedded(addr)...)`,
		`return []netip.Addr{addr}`, "Egress"},
	{"a body is read 64 times as far", oauth + "client.go", `maxBody = 1 << 20`, `maxBody = 64 << 20`,
		"Body|TooLong|Hostile|Limit"},
	{"a header is read 64 times as far", oauth + "client.go", `maxHeader = 64 << 10`, `maxHeader = 4 << 20`,
		"Header|Hostile|Limit"},
	{"https may be redirected to http", oauth + "document.go", `if u.Scheme == "https" && target.Scheme == "http" {`,
		`if false {`, "Redirect|Hostile"},
	{"PKCE is not asked of a server", oauth + "servermetadata.go",
		`case t.noCodeFlow, slices.Contains(md.CodeChallengeMethodsSupported, "S256"):`,
		`case t.noCodeFlow, !slices.Contains(md.CodeChallengeMethodsSupported, "none"):`, "Metadata|Server|PKCE"},
	{"iss may be anybody's", oauth + "authorization.go",
		`case len(iss) > 1, present && (issuer == "" || iss[0] != issuer):`, `case len(iss) > 1, present && issuer == "":`,
		"Authorization"},
	{"iss may be missing where it was promised", oauth + "authorization.go", `case !present && issParameterSupported:`,
		`case false:`, "Authorization"},
	{"a document vouches for every issuer", oauth + "servermetadata.go", `md.Documented = md.Issuer == identifier`,
		`md.Documented = true`, "ADocumentVouches"},
	{"tokens of Kubernetes are not known", oauth + "kubernetestoken.go", `if name == "kubernetes.io" ||`,
		`if name == "" ||`, "Kubernetes"},
	{"hidden characters are shown", oauth + "sanitize.go", `if !printable(text[i:], r) {`,
		`if !printable(text[i:], r) && r == 0 {`, "Sanitize|Hidden|Shown"},
	{"the cookie is not compared", stored + "authorization.go", "if !equal(r.BrowserHash, browserHash) {\n\t\t\treturn " +
		"nil, ErrOtherBrowser", "if r.BrowserHash == \"\" {\n\t\t\treturn nil, ErrOtherBrowser", "."},
	{"a request lives for ever", stored + "authorization.go", "if !now.Before(r.ExpiresAt) {\n\t\t\treturn nil, " +
		"ErrUnknownState", "if r.ExpiresAt.IsZero() {\n\t\t\treturn nil, ErrUnknownState", "."},
	{"a link lives for ever", stored + "authorization.go", "if !now.Before(a.Offer.ExpiresAt) {\n\t\t\treturn nil, " +
		"ErrTicketGone", "if a.Offer.ExpiresAt.IsZero() {\n\t\t\treturn nil, ErrTicketGone", "."},
	{"a credential is anybody's", stored + "store.go", `if secret.Annotations[AnnotationUID] != string(uid) {`,
		`if secret.Annotations[AnnotationUID] == "" {`, "."},
	{"a policy's words may repeat a secret", stored + "refused.go", `text = strings.ReplaceAll(text, value, "(hidden)")`,
		`text = strings.Clone(text)`, "ARefusalRepeatsNoValue|A refusal of the API server"},
	{"another website may press the button", pages + "connect.go", `if err := s.crossing.Check(x.r); err != nil {`,
		`if err := s.crossing.Check(x.r); err != nil && x.r == nil {`, "."},
	{"a page is shown to another browser", pages + "view.go",
		`subtle.ConstantTimeCompare([]byte(browserHash), []byte(wantHash)) == 1`, `true`, "."},
	{"a user's name is believed from everywhere", pages + "access.go",
		`if s.o.UserHeader == "" || !within(s.o.UserProxies, peer(r)) {`, `if s.o.UserHeader == "" {`, "."},
	{"nobody is limited", pages + "limits.go", `if wait <= 0 {`, `if wait <= 0 || wait > 0 {`, "."},
	{"one address may have every connection", pages + "listener.go", `publicConnections = 64`, `publicConnections = 4096`,
		"Place|Connection|Address"},
	{"documents have no reserve", pages + "listener.go", `reservedConnections = 64`, `reservedConnections = 0`,
		"Document|Connection"},
	{"the API server is not asked about a token", controller + "clustertoken.go",
		`return review.Status.Authenticated, nil`, `return false, nil`, "A token of this cluster|A token for the cluster"},
	{"a Secret that opens the cluster is a credential", controller + "clustertoken.go",
		`return slices.Contains(clusterTokenTypes, secret.Type)`,
		`return slices.Contains(clusterTokenTypes[1:], secret.Type)`, "A Secret of a type"},
	{"strangers' secrets go to the API server", controller + "clustertoken.go",
		`for _, jwt := range mcpoauth.JWTsIn(value) {`, `for _, jwt := range []string{value} {`, "A stranger's Secret is no"},
	{"a secret goes where the spec says", lifecycle + "destination.go",
		`case d.Documented || sameOrigin(d.Endpoint, d.Issuer):`, `case true:`, "TheOwnersWord|A secret goes only"},
	{"an owner's issuer binds nothing", lifecycle + "destination.go", `return h.Issuer == "" || h.Issuer == issuer`,
		`return true`, "TheOwnersWord|A Secret's own issuer"},
	{"a grant follows the spec's endpoints", lifecycle + "destination.go",
		`return s.ClientMayGo(Destinations(as)...) == nil`, `return true`, "A grant stays"},
	{"a ServiceAccount's owner is not asked", controller + "assertion.go",
		`if !slices.Contains(lifecycle.Entries(before), audience) {`, `if false {`, "An audience"},
	{"an assertion may be for several", controller + "assertion.go", `case len(audiences) > 1:`,
		`case len(audiences) > 9:`, "An assertion that cannot be used"},
	{"a stranger's Secret is written", lifecycle + "tokensecret.go", "return ownedByOthers // nothing",
		"return OwnedByUs // nothing", "ASecretBelongs|A Secret that is not ours"},
	{"what the operator keeps may be referred to", controller + "references.go",
		`|| slices.Contains(lifecycle.OwnSecrets, secret`, `|| slices.Contains(lifecycle.OwnSecrets[2:], secret`,
		"WhatOnlyTheOperatorReads|A reference to a Secret"},
	{"a withdrawn token stays published", lifecycle + "tokensecret.go",
		`return s.publishedElsewhere() || (g != nil && g.Revoke != "")`, `return s.publishedElsewhere() && g == nil`,
		"A revocation is done"},
	{"a second installation is let in", "cmd/scope.go", `if len(others) == 0 {`, `if len(others) < 9 {`,
		"TwoInstallations|OneSeesTheOther"},
	{"what cannot be counted is not left", "cmd/uninstall.go", `return 0, err`, `return 0, nil`, "ConnectionsAreCounted"},
	{"a neighbour's thousand go first", fairness + "queues.go", "n.tag = q.virtualTime + 1\n", "n.tag = q.virtualTime\n",
		"AVictims|ServedInTurn"},
	{"a slot is anybody's until its owner comes", fairness + "slots.go", "held := s.granted[conn]\n",
		"held := map[resource]bool{}\n", "ASlotIsKept|AVictims"},
	{"where the API server listens is open to a range", oauth + "egress.go", ` && !e.servesCluster(target) &&`, ` &&`,
		"WhereTheAPIServer"},
	{"a probe leaves no word", controller + "probe.go", "c.ProbedAt = r.Clock.Now().Truncate(time.Second)\n",
		"c.ProbedAt = time.Time{}\n", "A probe that ended"},
	{"a third probe begins", fairness + "limits.go", `maxProbes = 2`, `maxProbes = 3`, "Probe"},
	{"a plan is believed for ever", lifecycle + "rest.go", `|| at.Sub(computed) > maxRest {`, `{`, "DoesNotRest"},
	{"a plan of the future is believed", lifecycle + "rest.go", `|| SetBack(now, computed) ||`, `||`, "DoesNotRest"},
	{"a plan is believed past the end of the token", lifecycle + "rest.go", `t.ExpiresAt.Time.Before(at) &&`,
		`t.ExpiresAt.IsZero() &&`, "DoesNotRest"},
}
