package mcpoauth

import (
	"strings"
	"testing"
)

func TestDocumentsAreReadStrictly(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"valid", `{"issuer":"a","other":{"Issuer":[{"x":1},null]}}`, ""},
		{"null is absent", `{"issuer":null,"scopes_supported":null}`, ""},
		{"twice", `{"issuer":"a","issuer":"b"}`, "twice"},
		{"twice by escape", `{"issuer":"a","\u0069ssuer":"b"}`, "twice"},
		{"twice inside", `{"x":{"y":1,"y":2}}`, "twice"},
		{"another case", `{"Issuer":"a"}`, "must be spelled"},
		{"folded letter", `{"i\u017fsuer":"a"}`, "must be spelled"},
		{"another case is fine for the unknown", `{"X":1,"x":2}`, ""},
		{"wrong type", `{"issuer":["a"]}`, "not of type string"},
		{"wrong element", `{"scopes_supported":["a",1]}`, "not of type string"},
		{"wrong list", `{"scopes_supported":"a"}`, "array of strings"},
		{"wrong boolean", `{"client_id_metadata_document_supported":"true"}`, "boolean"},
		{"cut", `{"issuer":"a"`, "not valid JSON"},
		{"more after it", `{"issuer":"a"}{}`, "follows"},
		{"rubbish after it", `{"issuer":"a"} x`, "follows"},
		{"not UTF-8", "{\"issuer\":\"\xff\"}", "UTF-8"},
		{"too deep", strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1), "deeply"},
		{"deep enough", strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var md AuthorizationServerMetadata
			err := decodeDocument([]byte(tt.text), &md, serverMembers)
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
