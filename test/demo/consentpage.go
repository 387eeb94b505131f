package main

import (
	"cmp"
	"html/template"
	"net/http"
	"net/url"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// consentPage works without JavaScript and without anything from elsewhere. Its form goes to the page's own URL.
var consentPage = template.Must(template.New("consent").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo authorization server</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;background:#f4f5f7;color:#1c2430;margin:0}
main{max-width:30rem;margin:12vh auto;background:#fff;border:1px solid #d9dee5;border-radius:10px;padding:2rem}
h1{font-size:1.25rem;margin:0 0 1rem}code{word-break:break-all}
button{font:inherit;padding:.5rem 1.4rem;border-radius:6px;border:1px solid #9aa5b1;background:#fff;margin-right:.5rem}
button[value=approve]{background:#1a6b3c;border-color:#1a6b3c;color:#fff}
</style></head><body><main>
<h1>Demo authorization server</h1>
<p>You are signed in as <b>{{.User}}</b>.</p>
<p><b>{{.Name}}</b> asks to call the tools of <code>{{.Resource}}</code> for you (scope <code>{{.Scope}}</code>).</p>
<form method="post">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form></main></body></html>
`))

// askForConsent shows the consent page.
func askForConsent(w http.ResponseWriter, client oauthtest.Client, request url.Values) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_ = consentPage.Execute(w, map[string]string{
		"User": demoUser, "Name": client.Name, "Resource": request.Get("resource"),
		"Scope": cmp.Or(request.Get("scope"), demoScope),
	})
}
