package lifecycle

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// content is the data of the token Secret as it should be; nil if nothing is to be written.
func content(t testing.TB, o *State) map[string]string {
	t.Helper()
	secret, err := o.DesiredSecret()
	if err != nil {
		t.Error(err)
	}
	if secret == nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range secret.Data {
		out[k] = string(v)
	}
	return out
}

func TestTheSecretHoldsWhatWorkloadsNeedAndNothingElse(t *testing.T) {
	full := map[string]string{
		"access_token": givenToken, "token_type": "Bearer", "authorization": "Bearer " + givenToken,
		"expires_at": "2026-03-01T13:00:00Z",
		"scope":      "files:read", "server_url": givenServer, "resource": givenServer,
	}
	without := func(keys ...string) map[string]string {
		out := maps.Clone(full)
		for _, key := range keys {
			delete(out, key)
		}
		return out
	}
	with := func(key, value string) map[string]string {
		out := maps.Clone(full)
		out[key] = value
		return out
	}
	withdrawn := map[string]string{"server_url": givenServer}
	otherServer := specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })
	for name, test := range map[string]struct {
		o    *State
		want map[string]string
	}{
		"a token":                  {given(granted()), full},
		"a token type in any case": {given(granted(isOf("BEARER"))), full},
		"no token type":            {given(granted(isOf(""))), full},
		"no expiry":                {given(granted(withoutExpiry)), without("expires_at")},
		"an expiry in another zone": {given(
			granted(func(g *credential.Grant) { g.ExpiresAt = g.ExpiresAt.In(time.FixedZone("east", 7200)) })), full},
		"several scopes": {given(
			granted(func(g *credential.Grant) { g.GrantedScopes = []string{"a", "b"} })), with("scope", "a b")},
		"a resource that is not the URL": {given(
			granted(func(g *credential.Grant) { g.ResourceIdentifier = "https://mcp.example.com/" })),
			with("resource", "https://mcp.example.com/")},
		"an expired token stays": {given(granted(func(g *credential.Grant) { g.ExpiresAt = epoch.Add(-time.Hour) })),
			with("expires_at", "2026-03-01T11:00:00Z")},
		"a grant that was set aside stays": {given(granted(isSetAside)), full},
		"no authorization is needed":       {given(granted(isPublic)), withdrawn},
		"another token type":               {given(granted(isOf("DPoP"))), nil},
		"no token at all":                  {given(granted(func(g *credential.Grant) { g.AccessToken = "" })), nil},
		"no grant":                         {given(), nil},
		"a token without its grant":        {given(granted(), published, func(o *State) { o.Held = nil }), nil},
		"a token of another server": {given(granted(), published, otherServer),
			map[string]string{"server_url": "https://other.example.com/mcp"}},
		"a token of another issuer": {given(granted(), published, specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer + "/"}
		})), withdrawn},
		"a token of the issuer now pinned": {given(granted(), published, specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer}
		})), full},
		"a leaked token":                  {given(granted(), published, granted(toBeRevoked)), withdrawn},
		"a leaked token without a Secret": {given(granted(toBeRevoked)), nil},
		"a leaked token in a renamed Secret": {given(granted(), published, granted(toBeRevoked), specified(rename),
			func(o *State) { o.Secret = nil }), withdrawn},
		"another server in a renamed Secret": {given(granted(), published, otherServer, specified(rename),
			func(o *State) { o.Secret = nil }), map[string]string{"server_url": "https://other.example.com/mcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := content(t, test.o); !maps.Equal(got, test.want) {
				t.Errorf("it holds %v, want %v", got, test.want)
			}
		})
	}
}

func TestASecretBelongsToWhoeverMadeIt(t *testing.T) {
	secret := func(labels map[string]string, owner *metav1.OwnerReference) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: labels}}
		if owner != nil {
			s.OwnerReferences = []metav1.OwnerReference{*owner}
		}
		return s
	}
	ours := map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
		v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken}
	credentials := map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
		v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential}
	rewritten := map[string]string{v1alpha1.LabelManagedBy: "platform", v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken}
	typed := func(s *corev1.Secret, kind corev1.SecretType) *corev1.Secret {
		s.Type = kind
		return s
	}
	us := &metav1.OwnerReference{Kind: "MCPConnection", UID: givenUID, Controller: ptr.To(true)}
	other := &metav1.OwnerReference{Kind: "MCPConnection", UID: "other", Controller: ptr.To(true)}
	for name, test := range map[string]struct {
		secret *corev1.Secret
		gone   bool
		want   Ownership
	}{
		"labels and owner are ours":      {secret(ours, us), false, OwnedByUs},
		"the labels were taken off":      {secret(nil, us), false, OwnedByUs},
		"the owner does not control it":  {secret(nil, &metav1.OwnerReference{UID: givenUID}), false, ownedByOthers},
		"another connection's":           {secret(ours, other), false, ownedByOthers},
		"a dead connection's":            {secret(ours, other), true, ownedByDeleted},
		"restored without its owner":     {secret(ours, nil), false, ownedByDeleted},
		"a stranger's":                   {secret(nil, nil), false, ownedByOthers},
		"a stranger's with a dead owner": {secret(nil, other), true, ownedByOthers},
		"another program's with half the labels": {
			secret(map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy}, nil), true, ownedByOthers},
		"a credential Secret": {secret(credentials, nil), true, ownedByOthers},
		"a dead connection's whose common label was rewritten": {secret(rewritten, other), true, ownedByDeleted},
		"one with our label of another type, such as tls": {typed(secret(ours, nil), corev1.SecretTypeTLS), false,
			ownedByOthers},
		"ours of another type": {typed(secret(ours, us), corev1.SecretTypeTLS), false, OwnedByUs},
	} {
		t.Run(name, func(t *testing.T) {
			if got := OwnerOf(test.secret, given().Conn, test.gone); got != test.want {
				t.Errorf("Ownership %d, want %d", got, test.want)
			}
		})
	}
}

func TestLabelsAndAnnotationsAreAddedToThoseThatAreThere(t *testing.T) {
	o := given(specified(func(s *v1alpha1.MCPConnectionSpec) {
		s.TokenSecret = &v1alpha1.TokenSecretSpec{
			Labels: map[string]v1alpha1.LabelValue{"team": "files", v1alpha1.LabelManagedBy: "somebody"},
			Annotations: map[string]v1alpha1.AnnotationValue{"note": "mine", annotationIssuer: "https://evil.example.com",
				annotationIssuedAt: "x", annotationFromSpec: "x"},
		}
	}), granted(), published, func(o *State) {
		o.Secret.Labels["theirs"] = "kept"
		o.Secret.Annotations["theirs"] = "kept"
	})
	got, err := o.DesiredSecret()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"team": "files", "theirs": "kept", v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
		v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken}
	annotations := map[string]string{"note": "mine", "theirs": "kept", annotationIssuer: givenIssuer,
		annotationIssuedAt: "2026-03-01T12:00:00Z",
		annotationFromSpec: `{"labels":["team"],"annotations":["note"]}`}
	if !maps.Equal(got.Labels, labels) || !maps.Equal(got.Annotations, annotations) {
		t.Errorf("labels %v, annotations %v", got.Labels, got.Annotations)
	}
	owner := metav1.GetControllerOf(got)
	if owner == nil || owner.UID != givenUID || owner.Kind != "MCPConnection" || len(got.OwnerReferences) != 1 {
		t.Errorf("the owner is %+v", got.OwnerReferences)
	}
	if got.Namespace != "team" || got.Name != "files-token" || got.Type != corev1.SecretTypeOpaque ||
		got.ResourceVersion != "7" {
		t.Errorf("it is %s/%s of type %s at %s", got.Namespace, got.Name, got.Type, got.ResourceVersion)
	}
}

func TestAnEditedSecretIsPutBack(t *testing.T) {
	for name, edit := range map[string]func(*corev1.Secret){
		"a value":         func(s *corev1.Secret) { s.Data[v1alpha1.KeyAccessToken] = []byte("forged") },
		"a key less":      func(s *corev1.Secret) { delete(s.Data, v1alpha1.KeyScope) },
		"a key more":      func(s *corev1.Secret) { s.Data["extra"] = nil },
		"all keys":        func(s *corev1.Secret) { s.Data = nil },
		"a label of ours": func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelManagedBy) },
		"the issuer":      func(s *corev1.Secret) { s.Annotations[annotationIssuer] = "x" },
		"our owner":       func(s *corev1.Secret) { s.OwnerReferences = nil },
		"a dead owner of ours": func(s *corev1.Secret) {
			s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{Kind: "MCPConnection", UID: "x"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(), published)
			if o.tokenSecretOutdated() {
				t.Fatal("what was just published is outdated")
			}
			edit(o.Secret)
			if !o.tokenSecretOutdated() {
				t.Error("the edit stays")
			}
			published(o)
			if o.tokenSecretOutdated() {
				t.Error("it is edited again and again")
			}
		})
	}
	o := given(granted(), published, func(o *State) {
		o.Secret.Labels["theirs"] = "kept"
		o.Secret.OwnerReferences = append(o.Secret.OwnerReferences, metav1.OwnerReference{Kind: "ConfigMap", UID: "x"})
	})
	if o.tokenSecretOutdated() {
		t.Error("a label of somebody else is not let alone")
	}
}

func TestARenamedSecretIsPublishedUnderItsNewName(t *testing.T) {
	o := given(granted(), published, specified(rename), func(o *State) { o.Secret = nil })
	if got, _ := o.DesiredSecret(); !o.tokenSecretOutdated() || got.Name != "renamed" || got.ResourceVersion != "" {
		t.Errorf("it is %+v", got)
	}
	o.Secret, _ = o.DesiredSecret()
	if !o.tokenSecretOutdated() {
		t.Error("the one of the old name is forgotten")
	}
	o.PublishedName = "renamed"
	if o.tokenSecretOutdated() {
		t.Error("it is published again and again")
	}
}

func TestATemplateIsRenderedWithTheTokenOnly(t *testing.T) {
	templates := specified(func(s *v1alpha1.MCPConnectionSpec) {
		s.TokenSecret = &v1alpha1.TokenSecretSpec{Data: map[string]v1alpha1.Template{
			"mcp.json":     `{"Authorization":{{ toJson .authorization }},"url":"{{ .server_url }}"}`,
			"broken":       `{{ .access_token `,
			"access_token": `forged`,
		}}
	})
	got, err := given(templates, granted()).DesiredSecret()
	if err == nil || string(got.Data["mcp.json"]) != `{"Authorization":"Bearer `+givenToken+`","url":"`+givenServer+`"}` ||
		got.Data["broken"] != nil {
		t.Errorf("%v: %q", err, got.Data)
	}
	if string(got.Data[v1alpha1.KeyAccessToken]) != givenToken {
		t.Error("a template took the place of a reserved key")
	}
	withdrawn := content(t, given(templates, granted(), published, granted(toBeRevoked)))
	if keys := slices.Collect(maps.Keys(withdrawn)); !slices.Equal(keys, []string{v1alpha1.KeyServerURL}) {
		t.Errorf("a withdrawn token leaves the keys %v", keys)
	}
}

// templated has the spec ask for one key more.
func templated(text string) func(*State) {
	return specified(func(s *v1alpha1.MCPConnectionSpec) {
		s.TokenSecret = &v1alpha1.TokenSecretSpec{Data: map[string]v1alpha1.Template{"x": v1alpha1.Template(text)}}
	})
}

func TestTheLastResultOfABrokenTemplateStaysWithItsTokenOnly(t *testing.T) {
	const good, broken = "{{ .authorization }}", "{{ .autorization }}"
	otherToken := granted(func(g *credential.Grant) {
		g.AccessToken, g.IssuedAt = "the-next-token", epoch.Add(time.Minute)
	})
	for name, test := range map[string]struct {
		change func(*State)
		want   string
	}{
		"the same token":                 {templated(broken), "Bearer " + givenToken},
		"a template that does not parse": {templated("{{"), "Bearer " + givenToken},
		"the next token":                 {all(templated(broken), otherToken), ""},
		"the same text issued anew": {all(templated(broken),
			granted(func(g *credential.Grant) { g.IssuedAt = epoch.Add(time.Minute) })), ""},
		"a leaked token": {all(templated(broken), granted(toBeRevoked)), ""},
		"another server": {all(templated(broken), specified(
			func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })), ""},
		"another issuer": {all(templated(broken), specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: otherIssuer}
		})), ""},
		"another grant type": {all(templated(broken),
			func(o *State) { o.Conn.Spec.GrantType = v1alpha1.GrantTypeJWTBearer }), ""},
		"a token that was forged in the Secret": {all(templated(broken),
			func(o *State) { o.Secret.Data[v1alpha1.KeyAccessToken] = []byte("forged") }), ""},
		"a template that was taken out": {specified(func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = nil }), ""},
		"a template that is mended":     {templated("{{ .token_type }}"), "Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(templated(good), granted(), published, test.change)
			secret, _ := o.DesiredSecret()
			if secret == nil || string(secret.Data["x"]) != test.want {
				t.Errorf("the key holds %q, want %q", secret.Data["x"], test.want)
			}
		})
	}
	o := given(templated(good), granted(), published, templated(broken))
	if o.tokenSecretOutdated() {
		t.Error("a template that broke is written again and again")
	}
}

func TestWhatIsTakenOutOfTheSpecGoesFromTheSecretAndNothingElse(t *testing.T) {
	set := func(labels map[string]v1alpha1.LabelValue, annotations map[string]v1alpha1.AnnotationValue) func(*State) {
		return specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.TokenSecret = &v1alpha1.TokenSecretSpec{Labels: labels, Annotations: annotations}
		})
	}
	both := set(map[string]v1alpha1.LabelValue{"team": "files", "tier": "gold"},
		map[string]v1alpha1.AnnotationValue{"note": "mine", "other": "too"})
	theirs := func(o *State) { o.Secret.Labels["theirs"], o.Secret.Annotations["theirs"] = "kept", "kept" }
	for name, test := range map[string]struct {
		change              func(*State)
		labels, annotations []string
	}{
		"nothing": {func(*State) {}, []string{"team", "theirs", "tier"}, []string{"note", "other", "theirs"}},
		"one of each": {set(map[string]v1alpha1.LabelValue{"tier": "gold"},
			map[string]v1alpha1.AnnotationValue{"other": "too"}), []string{"theirs", "tier"}, []string{"other", "theirs"}},
		"all labels": {set(nil, map[string]v1alpha1.AnnotationValue{"note": "mine", "other": "too"}),
			[]string{"theirs"}, []string{"note", "other", "theirs"}},
		"all of it": {specified(func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = nil }),
			[]string{"theirs"}, []string{"theirs"}},
		"all of it, of a leaked token": {all(specified(func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = nil }),
			granted(toBeRevoked)), []string{"theirs"}, []string{"theirs"}},
		"all of it, and a stranger lied": {all(specified(func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = nil }),
			func(o *State) {
				o.Secret.Annotations[annotationFromSpec] = `{"labels":["team","tier","app.kubernetes.io/managed-by","mcp-connection.dev/secret-type"],"annotations":["note","other","mcp-connection.dev/issuer"]}`
			}), []string{"theirs"}, []string{"theirs"}},
		"all of it, and the list is lost": {all(specified(func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = nil }),
			func(o *State) {
				o.Secret.Annotations[annotationFromSpec] = "x"
			}), []string{"team", "theirs", "tier"}, []string{"note", "other", "theirs"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(both, granted(), published, theirs, test.change)
			got, _ := o.DesiredSecret()
			names := func(m map[string]string) []string {
				return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(k string) bool {
					return k == v1alpha1.LabelManagedBy || strings.HasPrefix(k, v1alpha1.Prefix)
				})
			}
			if !slices.Equal(names(got.Labels), test.labels) || !slices.Equal(names(got.Annotations), test.annotations) {
				t.Errorf("labels %v, annotations %v", got.Labels, got.Annotations)
			}
			if got.Labels[v1alpha1.LabelSecretType] != v1alpha1.SecretTypeToken ||
				got.Annotations[annotationIssuer] != givenIssuer {
				t.Errorf("the operator's own are gone: %v, %v", got.Labels, got.Annotations)
			}
			o.Secret = got
			if o.tokenSecretOutdated() {
				t.Error("it is written again and again")
			}
		})
	}
}

func TestASecretIsKnownByItsMetadataWhateverTheSpecPutsThere(t *testing.T) {
	o := given(specified(func(s *v1alpha1.MCPConnectionSpec) {
		s.TokenSecret = &v1alpha1.TokenSecretSpec{Labels: map[string]v1alpha1.LabelValue{"team": "files"}}
	}), granted(), published)
	o.Conn = reported(epoch, o)
	m := &cachedOf(o).Token
	m.Name = o.Secret.Name
	if !o.Untouched(m) {
		t.Fatal("it is read though nobody touched it")
	}
	if o.Secret = o.AsPublished(m); o.tokenSecretOutdated() {
		t.Error("it is written though nobody touched it")
	}
}
