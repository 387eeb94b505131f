package oauthtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionLifetime is the longest accepted of a client assertion.
	assertionLifetime = 5 * time.Minute
	// skew between clocks.
	skew = 5 * time.Second
)

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}

// claims of a JWT (RFC 7519, section 4.1) and of an ID-JAG.
type claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"`
	Expiry   int64           `json:"exp"`
	IssuedAt int64           `json:"iat"`
	ID       string          `json:"jti"`
	ClientID string          `json:"client_id"`
	Resource string          `json:"resource"`
	// typ is of the header.
	typ string
}

// verify checks the signature by one of the keys, and the claims that every assertion needs: a subject, one audience,
// and an expiry that has not passed (RFC 7523, section 3).
func (s *Server) verify(text string, keys []jose.JSONWebKey, audience string) (*claims, error) {
	signed, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, errors.New("not a JWT signed by ES256, RS256 or EdDSA")
	}
	in := &claims{}
	in.typ, _ = signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string)
	kid := signed.Signatures[0].Header.KeyID
	var payload []byte
	for _, key := range keys {
		if kid != "" && key.KeyID != "" && kid != key.KeyID {
			continue
		}
		if payload, err = signed.Verify(key); err == nil {
			break
		}
	}
	now := s.settings().Now()
	switch {
	case payload == nil:
		return nil, errors.New("no key verifies the signature")
	case json.Unmarshal(payload, in) != nil:
		return nil, errors.New("the claims are not a JSON object")
	case in.Issuer == "" || in.Subject == "":
		return nil, errors.New("iss or sub is missing")
	case !isAudience(in.Audience, audience):
		return nil, fmt.Errorf("aud is not %s alone", audience)
	case !time.Unix(in.Expiry, 0).After(now):
		return nil, errors.New("it has expired")
	case time.Unix(in.IssuedAt, 0).After(now.Add(skew)):
		return nil, errors.New("it was issued in the future")
	}
	return in, nil
}

// isAudience accepts an audience as a string or as an array of one.
func isAudience(raw json.RawMessage, audience string) bool {
	var one string
	var list []string
	if json.Unmarshal(raw, &one) == nil {
		list = []string{one}
	} else if json.Unmarshal(raw, &list) != nil {
		return false
	}
	return slices.Equal(list, []string{audience})
}

// checkClientAssertion authenticates a client by private_key_jwt (RFC 7523, section 2.2) and returns its ID. An
// assertion is good for one request.
func (s *Server) checkClientAssertion(form url.Values) (string, error) {
	if form.Get("client_assertion_type") != clientAssertionType {
		return "", errors.New("client_assertion_type is missing or another")
	}
	id := form.Get("client_id")
	if id == "" {
		// It is optional: the subject names the client, and the signature is checked by that client's keys.
		id = unverifiedSubject(form.Get("client_assertion"))
	}
	client, ok := s.findClient(id)
	if !ok || len(client.Keys) == 0 {
		return "", errors.New("unknown client, or one without keys")
	}
	in, err := s.verify(form.Get("client_assertion"), client.Keys, s.Issuer())
	if err != nil {
		return "", err
	}
	switch {
	case in.Issuer != id || in.Subject != id:
		return "", errors.New("iss and sub are not the client")
	case in.ID == "":
		return "", errors.New("jti is missing")
	case time.Unix(in.Expiry, 0).After(s.settings().Now().Add(assertionLifetime)):
		return "", errors.New("it lives too long")
	case s.seen(in):
		return "", errors.New("it was used before")
	}
	return id, nil
}

// seen is true for a JWT that was seen before, by its issuer and jti.
func (s *Server) seen(in *claims) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := in.Issuer + " " + in.ID
	before := s.jtis[key]
	s.jtis[key] = true
	return before
}

func unverifiedSubject(text string) string {
	var in claims
	signed, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil || json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &in) != nil {
		return ""
	}
	return in.Subject
}

// sign makes a JWT with the server's own key.
func (s *Server) sign(typ string, payload map[string]any) string {
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: keyID}},
		options)
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	text, err := json.Marshal(payload)
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	signed, err := signer.Sign(text)
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	return compact
}
