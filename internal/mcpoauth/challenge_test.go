package mcpoauth

import (
	"net/http"
	"reflect"
	"testing"
)

func TestParseChallenges(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string
		want    []Challenge
	}{
		{"nothing", nil, nil},
		{"empty", []string{""}, nil},
		{"scheme alone", []string{"Bearer"}, []Challenge{{Scheme: "Bearer"}}},
		{"quoted value", []string{`Bearer realm="a, b=c"`}, []Challenge{{"Bearer", map[string]string{"realm": "a, b=c"}}}},
		{"escaped quote", []string{`Bearer realm="a\"b\\"`}, []Challenge{{"Bearer", map[string]string{"realm": `a"b\`}}}},
		{"unquoted URL", []string{`Bearer resource_metadata=https://a.example/x?y=z, scope=a`},
			[]Challenge{{"Bearer", map[string]string{"resource_metadata": "https://a.example/x?y=z", "scope": "a"}}}},
		{"any case", []string{`bEARER Resource_Metadata="u"`},
			[]Challenge{{"bEARER", map[string]string{"resource_metadata": "u"}}}},
		{"blanks around equals", []string{`Bearer realm = "x"`}, []Challenge{{"Bearer", map[string]string{"realm": "x"}}}},
		{"missing commas", []string{`Bearer realm="x" scope="y"`},
			[]Challenge{{"Bearer", map[string]string{"realm": "x", "scope": "y"}}}},
		{"stray commas", []string{`, ,Bearer realm="x",,scope="y",`},
			[]Challenge{{"Bearer", map[string]string{"realm": "x", "scope": "y"}}}},
		{"several challenges", []string{`Basic realm="x", Bearer scope="y"`},
			[]Challenge{{"Basic", map[string]string{"realm": "x"}}, {"Bearer", map[string]string{"scope": "y"}}}},
		{"several headers", []string{`Basic realm="x"`, `Bearer scope="y"`},
			[]Challenge{{"Basic", map[string]string{"realm": "x"}}, {"Bearer", map[string]string{"scope": "y"}}}},
		{"schemes without parameters", []string{`Negotiate, NTLM, Bearer error="e"`},
			[]Challenge{{Scheme: "Negotiate"}, {Scheme: "NTLM"}, {"Bearer", map[string]string{"error": "e"}}}},
		{"token68", []string{`Negotiate YII/a+b==, Bearer error="e"`},
			[]Challenge{{Scheme: "Negotiate"}, {"Bearer", map[string]string{"error": "e"}}}},
		{"first of equal parameters", []string{`Bearer scope="a", SCOPE="b"`},
			[]Challenge{{"Bearer", map[string]string{"scope": "a"}}}},
		{"quote without end", []string{`Bearer error="e", scope="a`},
			[]Challenge{{"Bearer", map[string]string{"error": "e"}}}},
		{"rubbish before", []string{`"x" @ Bearer error="e"`},
			[]Challenge{{Scheme: "x"}, {"Bearer", map[string]string{"error": "e"}}}},
		{"parameter without scheme", []string{`error="e"`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseChallenges(http.Header{"Www-Authenticate": tt.headers}); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFindBearer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header string
		want   BearerChallenge
		ok     bool
	}{
		{"nothing", "", BearerChallenge{}, false},
		{"another scheme", `Basic realm="x"`, BearerChallenge{}, false},
		{"all members", `Bearer error="insufficient_scope", error_description="no", scope="a  b", resource_metadata="u"`,
			BearerChallenge{ResourceMetadata: "u", Scopes: []string{"a", "b"}, Error: "insufficient_scope",
				ErrorDescription: "no"}, true},
		{"empty scope is none", `Bearer scope=""`, BearerChallenge{}, true},
		{"the one with metadata", `Bearer error="a", Bearer error="b", resource_metadata="u"`,
			BearerChallenge{ResourceMetadata: "u", Error: "b"}, true},
		{"metadata of another scheme", `DPoP resource_metadata="u"`, BearerChallenge{ResourceMetadata: "u"}, true},
		{"all members of DPoP", `DPoP error="insufficient_scope", scope="a", resource_metadata="u"`,
			BearerChallenge{ResourceMetadata: "u", Scopes: []string{"a"}, Error: "insufficient_scope"}, true},
		{"scope of Bearer alone", `DPoP resource_metadata="u", scope="d", Bearer scope="b"`,
			BearerChallenge{ResourceMetadata: "u", Scopes: []string{"b"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := FindBearer(ParseChallenges(http.Header{"Www-Authenticate": {tt.header}}))
			if ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v %v, want %+v %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}
