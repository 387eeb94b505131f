package controller

import (
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

type decision struct {
	at   time.Duration
	o    *observed
	want step
}

func testDecisions(t *testing.T, decisions map[string]decision) {
	t.Helper()
	for name, test := range decisions {
		t.Run(name, func(t *testing.T) {
			if got := decide(epoch.Add(test.at), test.o); got != test.want {
				t.Errorf("the step is %q, want %q", got, test.want)
			}
		})
	}
}

// worst is a connection at which everything is due at once.
var worst = all(granted(toBeRevoked), answered, annotated(v1alpha1.AnnotationRevoke, "1"), annotated(v1alpha1.AnnotationRefresh, "1"))

func TestTheFirstThingDueIsDecided(t *testing.T) {
	testDecisions(t, map[string]decision{
		"a connection that was let go has no step":                    {o: &observed{}, want: stepNone},
		"a busy server is not asked now":                              {o: given(worst, func(o *observed) { o.busy = busyRetry }), want: stepNone},
		"a deleted connection is finalized before all":                {o: given(worst, isDeleted, isSuspended, func(o *observed) { o.unusable = credential.ErrCorrupt }), want: stepFinalize},
		"a finalization waits for its retry":                          {o: given(isDeleted, failing(stepFinalize, "TokenRequestFailing", time.Minute)), want: stepNone},
		"a finalization is retried on time":                           {at: time.Minute, o: given(isDeleted, failing(stepFinalize, "TokenRequestFailing", time.Minute)), want: stepFinalize},
		"a deleted connection without our finalizer is left":          {o: given(isDeleted, func(o *observed) { o.conn.Finalizers, o.held = []string{"other"}, nil }), want: stepNone},
		"a suspended connection revokes":                              {o: given(worst, isSuspended), want: stepWithdrawToken},
		"a suspended connection empties the Secret first":             {o: given(granted(), published, granted(toBeRevoked), isSuspended), want: stepPublish},
		"a suspended connection then revokes at the server":           {o: given(granted(toBeRevoked), published, isSuspended), want: stepRevoke},
		"a suspended connection does nothing else":                    {at: givenRefresh, o: given(granted(), answered, annotated(v1alpha1.AnnotationReauthorize, "1"), isSuspended), want: stepNone},
		"a suspension holds up no deletion":                           {o: given(granted(), isSuspended, isDeleted), want: stepFinalize},
		"a stripped finalizer is put back while suspended":            {o: given(granted(), isSuspended, stripped), want: stepAddFinalizer},
		"a stripped finalizer comes before a revocation":              {o: given(worst, stripped), want: stepAddFinalizer},
		"a stripped finalizer that waits stops nothing":               {at: givenRefresh, o: given(granted(), published, stripped, failing(stepAddFinalizer, reasonFinalizerRemoved, time.Hour)), want: stepRefresh},
		"what is stored is ended without our finalizer too":           {o: given(granted(), isDeleted, stripped), want: stepFinalize},
		"another deletion policy is noted":                            {o: given(granted(), published, orphans), want: stepNotePolicy},
		"another deletion policy is noted while suspended":            {o: given(granted(), published, orphans, isSuspended), want: stepNotePolicy},
		"suspension comes before the finalizer":                       {o: given(isSuspended, func(o *observed) { o.conn.Finalizers, o.held = nil, nil }), want: stepNone},
		"an unusable credential Secret is not touched":                {o: given(worst, func(o *observed) { o.unusable = credential.ErrNewerFormat }), want: stepNone},
		"the finalizer comes before the first write":                  {o: given(worst, func(o *observed) { o.conn.Finalizers = []string{"other"} }), want: stepAddFinalizer},
		"a leaked token is withdrawn before all requests":             {o: given(worst), want: stepWithdrawToken},
		"a withdrawn token leaves the Secret first":                   {o: given(granted(), published, granted(toBeRevoked), answered), want: stepPublish},
		"a missing token Secret is published":                         {o: given(granted(), answered), want: stepPublish},
		"the withdrawn grant is revoked before a code brings another": {o: given(granted(toBeRevoked), answered), want: stepRevoke},
		"a code is exchanged while a revocation waits":                {o: given(granted(toBeRevoked), answered, failing(stepRevoke, "TokenRequestFailing", time.Minute)), want: stepExchangeCode},
		"a code is exchanged before a refresh":                        {at: givenRefresh, o: given(granted(), published, answered), want: stepExchangeCode},
		"a code is exchanged before all consents":                     {o: given(answered), want: stepExchangeCode},
		"a refresh comes before a consent":                            {at: givenRefresh, o: given(granted(), published, annotated(v1alpha1.AnnotationReauthorize, "1")), want: stepRefresh},
		"a place to save comes before all requests":                   {o: given(func(o *observed) { o.held = nil }), want: stepCreateCredential},
		"a new connection begins with discovery":                      {o: given(), want: stepDiscover},
		"a connection at rest has no step":                            {o: given(granted(), published), want: stepNone},
	})
}

func TestAStepThatWaitsForItsRetryBlocksOnlyWhatNeedsIt(t *testing.T) {
	conflict := all(granted(), isForeign, failing(stepPublish, v1alpha1.ReasonSecretConflict, time.Minute))
	unreachable := failing(stepDiscover, v1alpha1.ReasonServerUnreachable, 2*time.Hour)
	testDecisions(t, map[string]decision{
		"a conflict is not tried before its time":                   {o: given(conflict), want: stepNone},
		"a conflict is tried again on time":                         {at: time.Minute, o: given(conflict), want: stepPublish},
		"a conflict stops no refresh":                               {at: givenRefresh, o: given(granted(), isForeign, failing(stepPublish, v1alpha1.ReasonSecretConflict, time.Hour)), want: stepRefresh},
		"a conflict stops no exchange":                              {o: given(conflict, answered), want: stepExchangeCode},
		"a conflict stops no revocation":                            {o: given(granted(toBeRevoked), isForeign, failing(stepPublish, v1alpha1.ReasonSecretConflict, time.Hour)), want: stepRevoke},
		"an outage of the MCP server stops no refresh":              {at: givenRefresh, o: given(granted(), published, unreachable), want: stepRefresh},
		"an outage of the MCP server stops no exchange":             {o: given(answered, unreachable), want: stepExchangeCode},
		"an outage of the MCP server stops no publication":          {o: given(granted(), unreachable), want: stepPublish},
		"an outage of the MCP server stops a consent":               {o: given(unreachable), want: stepNone},
		"a discovery is tried again on time":                        {at: 2 * time.Hour, o: given(unreachable), want: stepDiscover},
		"a refresh waits for its retry":                             {at: givenRefresh, o: given(granted(), published, failing(stepRefresh, "TokenRequestFailing", givenRefresh+time.Second)), want: stepNone},
		"a refresh is tried again on time":                          {at: givenRefresh, o: given(granted(), published, failing(stepRefresh, "TokenRequestFailing", givenRefresh)), want: stepRefresh},
		"an exchange waits for its retry and blocks new consents":   {o: given(answered, failing(stepExchangeCode, "TokenRequestFailing", time.Minute)), want: stepNone},
		"an exchange that waits stops no refresh":                   {at: givenRefresh, o: given(granted(), published, answered, failing(stepExchangeCode, "TokenRequestFailing", time.Hour)), want: stepRefresh},
		"a revocation waits for its retry and blocks new consents":  {o: given(granted(toBeRevoked), failing(stepRevoke, "TokenRequestFailing", time.Minute)), want: stepNone},
		"a registration that waits stops discovery too":             {o: given(failing(stepRegister, v1alpha1.ReasonRegistrationRefused, time.Minute)), want: stepNone},
		"a registration is tried again with a discovery":            {at: time.Minute, o: given(failing(stepRegister, v1alpha1.ReasonRegistrationRefused, time.Minute)), want: stepDiscover},
		"a consent that nobody can give waits for an edit for ever": {at: 1000 * time.Hour, o: given(failing(stepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0)), want: stepNone},
	})
}

func TestTheRefreshIsDecidedByTheClockOrByRequest(t *testing.T) {
	asked := annotated(v1alpha1.AnnotationRefresh, "1")
	due := func(o *observed) { o.handled.Refresh = "1" }
	testDecisions(t, map[string]decision{
		"not before its time":                            {at: givenRefresh - time.Second, o: given(granted(), published), want: stepNone},
		"at its time":                                    {at: givenRefresh, o: given(granted(), published), want: stepRefresh},
		"after the token expired":                        {at: 2 * givenLifetime, o: given(granted(), published), want: stepRefresh},
		"when asked for":                                 {o: given(granted(), published, asked), want: stepRefresh},
		"once per request":                               {o: given(granted(), published, asked, due), want: stepNone},
		"again for another value":                        {o: given(granted(), published, annotated(v1alpha1.AnnotationRefresh, "2"), due), want: stepRefresh},
		"not for an empty value":                         {o: given(granted(), published, annotated(v1alpha1.AnnotationRefresh, "")), want: stepNone},
		"not without a refresh token":                    {at: givenRefresh - time.Minute, o: given(granted(withoutRefreshToken), published, asked), want: stepNone},
		"not for a grant that was set aside":             {at: givenRefresh, o: given(granted(isSetAside), published, asked, offered()), want: stepNone},
		"not for a grant that is to be revoked":          {at: givenRefresh, o: given(granted(toBeRevoked), asked, failing(stepRevoke, "TokenRequestFailing", time.Hour)), want: stepNone},
		"not for a public server":                        {at: givenRefresh, o: given(granted(isPublic), published, asked), want: stepNone},
		"once more after an unknown outcome":             {at: givenRefresh, o: given(granted(unknownOutcomes(1)), published), want: stepRefresh},
		"not a third time while the token is valid":      {at: givenLifetime - 1, o: given(granted(unknownOutcomes(2)), published), want: stepNone},
		"nor as the retry of one that failed":            {at: givenLifetime - 1, o: given(granted(unknownOutcomes(2)), published, failing(stepRefresh, "TokenRequestFailing", givenRefresh)), want: stepNone},
		"a claim that was left behind is counted before": {at: givenLifetime - 1, o: given(granted(unknownOutcomes(1), isClaimed), published, failing(stepRefresh, "TokenRequestFailing", givenRefresh)), want: stepRefresh},
		"then at its expiry":                             {at: givenLifetime, o: given(granted(unknownOutcomes(1), isClaimed), published, failing(stepRefresh, "TokenRequestFailing", givenRefresh)), want: stepRefresh},
		"again once nothing can be lost":                 {at: givenLifetime, o: given(granted(unknownOutcomes(2)), published), want: stepRefresh},
		"again if nobody knows when nothing can be lost": {at: givenRefresh, o: given(granted(unknownOutcomes(7), withoutExpiry), published), want: stepRefresh},
		"a third time if a person asks":                  {o: given(granted(unknownOutcomes(2)), published, asked), want: stepRefresh},
		"with a claim that was left behind":              {at: givenRefresh, o: given(granted(isClaimed), published), want: stepRefresh},
		"though the client was replaced, with its own client": {at: givenRefresh, o: given(granted(), published, offered(), specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationMetadataDocument}
		})), want: stepRefresh},
		"though the external URL changed":      {at: givenRefresh, o: given(granted(), published, func(o *observed) { o.externalURL = "https://new.example.com" }), want: stepRefresh},
		"not with the grant of another server": {at: givenRefresh, o: given(granted(), specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })), want: stepDiscover},
		"not with the grant of another issuer than the spec has": {at: givenRefresh, o: given(granted(), specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer + "/"}
		})), want: stepDiscover},
	})
}

func TestAConsentGoesFromDiscoveryToAnOpenLink(t *testing.T) {
	reauthorize := annotated(v1alpha1.AnnotationReauthorize, "1")
	answersReauthorize := func(o *credential.Offer) { o.Reauthorize = "1" }
	handledReauthorize := func(o *observed) { o.handled.Reauthorize = "1" }
	otherServer := specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })
	testDecisions(t, map[string]decision{
		"discovery comes first": {o: given(), want: stepDiscover},
		"then registration":     {o: given(foundServer), want: stepRegister},
		"then the link":         {o: given(foundServer, foundClient), want: stepStartAuthorization},
		"nothing is registered where nobody can consent":              {o: given(foundServer, func(o *observed) { o.externalURL = "" }), want: stepStartAuthorization},
		"an open link is waited for":                                  {o: given(offered()), want: stepNone},
		"an expired link is replaced":                                 {at: credential.TicketLifetime, o: given(offered()), want: stepDiscover},
		"an edited spec replaces the link":                            {o: given(offered(), specified(func(s *v1alpha1.MCPConnectionSpec) { s.Scopes = []v1alpha1.Scope{"a"} })), want: stepDiscover},
		"a suspension and its end leave the link":                     {o: given(offered(), orphans, func(o *observed) { o.stored().Deletion.Policy = "Orphan" }), want: stepNone},
		"another external URL replaces the link":                      {o: given(offered(), func(o *observed) { o.externalURL = "https://new.example.com" }), want: stepDiscover},
		"the same external URL with a slash leaves it":                {o: given(offered(), func(o *observed) { o.externalURL = givenExternal + "/" }), want: stepNone},
		"another server ends the link at once":                        {o: given(offered(), otherServer), want: stepEndAuthorization},
		"another server ends the link though it cannot be discovered": {o: given(offered(), otherServer, failing(stepDiscover, v1alpha1.ReasonServerUnreachable, time.Hour)), want: stepEndAuthorization},
		"another issuer ends the link at once": {o: given(offered(), specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Issuer: "https://other.example.com"}
		})), want: stepEndAuthorization},
		"a link that is no longer wanted ends":                 {o: given(granted(), published, offered()), want: stepEndAuthorization},
		"a refresh that healed ends the link":                  {at: 2 * time.Minute, o: given(granted(), published, offered(), failing(stepDiscover, v1alpha1.ReasonServerUnreachable, time.Hour)), want: stepEndAuthorization},
		"a request of a person begins another consent":         {o: given(granted(), published, reauthorize), want: stepDiscover},
		"a request replaces a link that answers another":       {o: given(granted(), published, offered(), reauthorize), want: stepDiscover},
		"a link that answers the request is waited for":        {o: given(granted(), published, offered(answersReauthorize), reauthorize), want: stepNone},
		"it is waited for after the request is handled":        {o: given(granted(), published, offered(answersReauthorize), reauthorize, handledReauthorize), want: stepNone},
		"a handled request without a link is over":             {o: given(granted(), published, reauthorize, handledReauthorize), want: stepNone},
		"a request is for the server of its time":              {o: given(offered(answersReauthorize), otherServer, granted(), published), want: stepEndAuthorization},
		"a moved token endpoint asks for discovery":            {o: given(granted(), published, func(o *observed) { o.rediscover = true }), want: stepDiscover},
		"a moved token endpoint asks in spite of an open link": {o: given(granted(isSetAside), published, offered(), func(o *observed) { o.rediscover = true }), want: stepDiscover},
		"a discovery that answered is enough":                  {o: given(granted(), published, foundServer, func(o *observed) { o.rediscover = true }), want: stepNone},
		"a response ends the search for a link":                {o: given(answered, failing(stepExchangeCode, "TokenRequestFailing", time.Minute), foundServer), want: stepNone},
	})
}

func TestAConsentIsWantedWhereItHelps(t *testing.T) {
	client := func(c v1alpha1.ClientSpec) func(*observed) {
		return specified(func(s *v1alpha1.MCPConnectionSpec) { s.Client = &c })
	}
	used := func(method mcpoauth.RegistrationMethod, id string) func(*observed) {
		return all(granted(func(g *credential.Grant) { g.Client.Method, g.Client.ClientID = method, id }), published)
	}
	document := "https://me.example.com/client.json"
	testDecisions(t, map[string]decision{
		"after the grant was set aside":                                  {o: given(granted(isSetAside), published), want: stepDiscover},
		"after an unknown outcome once the token expired":                {at: givenLifetime, o: given(granted(unknownOutcomes(1)), published, failing(stepRefresh, "TokenRequestFailing", 2*time.Hour)), want: stepDiscover},
		"not after an unknown outcome while it is valid":                 {at: givenRefresh, o: given(granted(unknownOutcomes(1)), published, failing(stepRefresh, "TokenRequestFailing", 2*time.Hour)), want: stepNone},
		"at two thirds of the life of a token that cannot be refreshed":  {at: 40 * time.Minute, o: given(granted(withoutRefreshToken), published), want: stepDiscover},
		"not before two thirds of it":                                    {at: 40*time.Minute - 1, o: given(granted(withoutRefreshToken), published), want: stepNone},
		"after a token that cannot be refreshed expired":                 {at: givenLifetime, o: given(granted(withoutRefreshToken), published), want: stepDiscover},
		"never for a token that does not expire":                         {at: 10000 * time.Hour, o: given(granted(withoutRefreshToken, withoutExpiry), published), want: stepNone},
		"not for a public server":                                        {at: 10000 * time.Hour, o: given(granted(isPublic), published), want: stepNone},
		"for a public server once the spec asks for scopes":              {o: given(granted(isPublic), published, specified(func(s *v1alpha1.MCPConnectionSpec) { s.Scopes = []v1alpha1.Scope{"a"} })), want: stepDiscover},
		"for a public server once the spec names a client":               {o: given(granted(isPublic), published, client(v1alpha1.ClientSpec{Name: "me"})), want: stepDiscover},
		"not while the old grant is to be revoked":                       {o: given(granted(toBeRevoked), failing(stepRevoke, "TokenRequestFailing", time.Hour)), want: stepNone},
		"for another method of registration":                             {o: given(used(mcpoauth.Dynamic, "x"), client(v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationMetadataDocument})), want: stepDiscover},
		"not for the same method":                                        {o: given(used(mcpoauth.Dynamic, "x"), client(v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationDynamic})), want: stepNone},
		"not for any method":                                             {o: given(used(mcpoauth.Dynamic, "x"), client(v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationAuto})), want: stepNone},
		"for another client metadata document":                           {o: given(used(mcpoauth.MetadataDocument, "https://old.example.com/"), client(v1alpha1.ClientSpec{MetadataDocumentURL: document})), want: stepDiscover},
		"not for the same client metadata document":                      {o: given(used(mcpoauth.MetadataDocument, document), client(v1alpha1.ClientSpec{MetadataDocumentURL: document})), want: stepNone},
		"not if the server made a dynamic client in place of a document": {o: given(used(mcpoauth.Dynamic, "x"), client(v1alpha1.ClientSpec{MetadataDocumentURL: document, Registration: v1alpha1.RegistrationAuto})), want: stepNone},
		"if a document is insisted on":                                   {o: given(used(mcpoauth.Dynamic, "x"), client(v1alpha1.ClientSpec{MetadataDocumentURL: document, Registration: v1alpha1.RegistrationMetadataDocument})), want: stepDiscover},
		"for other credentials":                                          {o: given(used(mcpoauth.Preregistered, "x"), func(o *observed) { o.client = &referencedClient{id: "y"} }), want: stepDiscover},
		"not for the same credentials":                                   {o: given(used(mcpoauth.Preregistered, "x"), func(o *observed) { o.client = &referencedClient{id: "x"} }), want: stepNone},
		"not while the credentials are missing":                          {o: given(used(mcpoauth.Preregistered, "x"), func(o *observed) { o.client = &referencedClient{missing: "Gone."} }), want: stepNone},
		"when the spec names no credentials any more":                    {o: given(used(mcpoauth.Preregistered, "x")), want: stepDiscover},
	})
}

func TestRevocationIsActedOnOncePerRequest(t *testing.T) {
	testDecisions(t, map[string]decision{
		"a new value withdraws the token":          {o: given(granted(), published, annotated(v1alpha1.AnnotationRevoke, "1")), want: stepWithdrawToken},
		"a value without a grant is handled too":   {o: given(annotated(v1alpha1.AnnotationRevoke, "1")), want: stepWithdrawToken},
		"a handled value is over":                  {o: given(granted(), published, annotated(v1alpha1.AnnotationRevoke, "1"), func(o *observed) { o.handled.Revoke = "1" }), want: stepNone},
		"an emptied Secret leads to revocation":    {o: given(granted(toBeRevoked), published), want: stepRevoke},
		"a Secret that is not there needs nothing": {o: given(granted(toBeRevoked)), want: stepRevoke},
		"a renamed Secret is emptied first":        {o: given(granted(), published, granted(toBeRevoked), specified(rename)), want: stepPublish},
	})
}

func rename(s *v1alpha1.MCPConnectionSpec) {
	s.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "renamed"}
}

func TestWhoeverAsksForALinkGetsOneThatIsUsable(t *testing.T) {
	for name, change := range map[string]func(*observed){
		"automatic registration": func(*observed) {},
		"a metadata document is only offered": specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationAuto, MetadataDocumentURL: "https://me.example.com/c.json"}
		}),
		"dynamic registration": specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationDynamic}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			o := given(change, foundServer, foundClient)
			if got := decide(epoch, o); got != stepStartAuthorization {
				t.Fatalf("the step is %q", got)
			}
			offered(func(offer *credential.Offer) { offer.Binding.Client = *o.registered })(o)
			if got := decide(epoch, o); got != stepNone {
				t.Errorf("with the link just offered the step is %q", got)
			}
		})
	}
}
