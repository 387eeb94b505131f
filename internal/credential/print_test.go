package credential

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// fill puts a marked value into every text of a value, but for those that say what it is; the query of a URL is one.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("hunter2")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value)
		v.SetMapIndex(reflect.ValueOf("name").Convert(v.Type().Key()), value)
	case reflect.Struct:
		for i := range v.NumField() {
			switch field := v.Type().Field(i); {
			case !field.IsExported(), field.Name == "Issuer", field.Name == "ClientID", field.Name == "Method",
				field.Name == "ID":
			case field.Name == "URL" && field.Type.Kind() == reflect.String, field.Name == "Endpoint", field.Name == "ServerURL":
				v.Field(i).SetString("https://login.example.com/?key=hunter2")
			case field.Name == "Key", field.Name == "DPoP", field.Name == "URL":
			default:
				fill(v.Field(i))
			}
		}
	}
}

func TestWhatHoldsSecretsNeverPrintsThem(t *testing.T) {
	for _, value := range []any{
		&Credential{}, &Held{}, &Registration{}, &Binding{}, &Grant{}, &Authorization{}, &Offer{}, &Request{}, &Response{},
		&Outcome{}, &signingKey{},
		&mcpoauth.ClientRegistration{}, &mcpoauth.RegistrationRequest{}, &mcpoauth.AuthorizationRequest{},
		&mcpoauth.TokenEndpoint{}, &mcpoauth.CodeRequest{},
		&mcpoauth.RefreshRequest{}, &mcpoauth.ClientCredentialsRequest{}, &mcpoauth.JWTBearerRequest{},
		&mcpoauth.TokenExchangeRequest{}, &mcpoauth.TokenResponse{},
		&mcpoauth.ExchangedToken{}, &mcpoauth.RevocationRequest{}, &mcpoauth.ServerProbe{}, &mcpoauth.DPoPProof{},
	} {
		t.Run(fmt.Sprintf("%T", value), func(t *testing.T) {
			fill(reflect.ValueOf(value).Elem())
			if stored, err := json.Marshal(value); err != nil || !strings.Contains(string(stored), "hunter2") {
				t.Fatalf("nothing was planted: %v", err)
			}
			plain := reflect.ValueOf(value).Elem().Interface()
			for _, shown := range []any{value, plain, []any{plain}, map[string]any{"it": value}, struct{ It any }{plain}} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
					if text := fmt.Sprintf(verb, shown); strings.Contains(text, "hunter2") {
						t.Errorf("%s shows %s", verb, text)
					}
				}
			}
		})
	}
}
