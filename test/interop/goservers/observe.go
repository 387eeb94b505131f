package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
)

// event is one line of output.
type event map[string]any

var reporting sync.Mutex

func report(e event) {
	reporting.Lock()
	defer reporting.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(e)
}

// observe reports tokens that are granted and answers that are errors. Clients may look for metadata that is not there.
func observe(tokenPath string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // now: handlers may parse a copy of the request, and the body can be read once
		seen := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		switch {
		case strings.HasPrefix(r.URL.Path, "/.well-known/"):
		case seen.status >= http.StatusBadRequest:
			report(event{"event": "error", "at": r.URL.Path, "status": seen.status, "detail": seen.body.String()})
		case r.URL.Path == tokenPath:
			reportGrant(r, seen.body.Bytes())
		}
	})
}

func reportGrant(r *http.Request, body []byte) {
	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		IDToken      string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		report(event{"event": "error", "at": r.URL.Path, "detail": err.Error()})
		return
	}
	report(event{"event": "granted", "grant_type": r.PostFormValue("grant_type"), "auth_method": authMethod(r),
		"secrets": map[string]string{
			"access_token": answer.AccessToken, "refresh_token": answer.RefreshToken, "id_token": answer.IDToken,
			"code": r.PostFormValue("code"), "code_verifier": r.PostFormValue("code_verifier"),
			"assertion": r.PostFormValue("assertion"),
		}})
}

func authMethod(r *http.Request) string {
	switch _, _, basic := r.BasicAuth(); {
	case basic && r.PostFormValue("client_secret") != "":
		return "two methods at once"
	case basic:
		return "client_secret_basic"
	case r.PostFormValue("client_secret") != "":
		return "client_secret_post"
	}
	return "none"
}

// recorder keeps what is answered.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}
