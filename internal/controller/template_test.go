package controller

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var fields = map[string]string{
	"access_token": givenToken, "token_type": "Bearer", "authorization": "Bearer " + givenToken, "scope": "a b", "server_url": givenServer,
	"long": strings.Repeat("x", 10_000),
}

func TestTemplatesRender(t *testing.T) {
	for template, want := range map[string]string{
		"plain":                                                                     "plain",
		"{{ .authorization }}":                                                      "Bearer " + givenToken,
		"{{ .expires_at }}|{{ .nothing }}":                                          "|",
		`{{ .nothing | default "none" }}`:                                           "none",
		"{{ if .expires_at }}yes{{ else }}no{{ end }}":                              "no",
		"{{ with .scope }}{{ . }}{{ end }}":                                         "a b",
		`{{ splitList " " .scope | join "," }}`:                                     "a,b",
		`{{ splitList " " .scope | first }}`:                                        "a",
		`{{ splitList " " .scope | last | upper }}`:                                 "B",
		"{{ b64enc .access_token }}":                                                "dGhlLWFjY2Vzcy10b2tlbg==",
		"{{ b64dec (b64enc .access_token) }}":                                       givenToken,
		"{{ toJson . | len | lt 10 }}":                                              "true",
		`{{ quote .token_type }} {{ squote "a" }}`:                                  `"Bearer" 'a'`,
		`{{ replace "https://" "" .server_url }}`:                                   "mcp.example.com/mcp",
		`{{ trim "  a " }}{{ lower "B" }}`:                                          "ab",
		`{{ trimPrefix "a" "ab" }}{{ trimSuffix "b" "ab" }}{{ trimAll "x" "xcx" }}`: "bac",
		`{{ ternary "y" "n" (contains "a" .scope) }}{{ hasPrefix "a" .scope }}{{ hasSuffix "a" .scope }}`: "ytruefalse",
		`{{ empty .nothing }}`:                       "true",
		`{{ $t := .token_type }}{{ $t }}`:            "Bearer",
		`{{ urlquery "a b" }}{{ print "a" 1 }}`:      "a+ba1",
		`{{ index . "scope" }}{{ slice "abc" 1 2 }}`: "a bb",
		`{{ and .scope (not .nothing) | print }}`:    "true",
		`{{/* nothing */}}`:                          "",
	} {
		if got, err := renderTemplate(template, fields); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", template, got, want, err)
		}
	}
}

func TestFunctionsAreAvailableByListOnly(t *testing.T) {
	for _, call := range []string{
		`env "HOME"`, `expandenv "$HOME"`, `getHostByName "a"`, `now`, `genPrivateKey "rsa"`, `randAlphaNum 5`, `uuidv4`, `repeat 9 "a"`, `until 9`,
		`untilStep 0 9 1`, `regexMatch "a" "a"`, `list "a"`, `dict "a" "b"`, `fail "a"`, `indent 4 "a"`, `cat "a"`, `osBase "a"`, `date "2006" "a"`,
		`printf "%1000000000d" 1`, `println "a"`, `html "a"`, `js "a"`, `call .scope`,
	} {
		if got, err := renderTemplate("{{ "+call+" }}", fields); err == nil {
			t.Errorf("%s renders %q", call, got)
		}
	}
	available := slices.Collect(maps.Keys(boundedFunctions()))
	want := append(slices.Clone(templateFunctions), "print", "urlquery", "printf", "println", "call", "js", "html")
	slices.Sort(available)
	slices.Sort(want)
	if !slices.Equal(available, want) {
		t.Errorf("the functions are %v", available)
	}
}

func TestLoopsAndCallsAreRefused(t *testing.T) {
	for _, template := range []string{
		`{{ range . }}x{{ end }}`,
		`{{ if .scope }}{{ range . }}x{{ end }}{{ end }}`,
		`{{ if .scope }}{{ else }}{{ range . }}x{{ end }}{{ end }}`,
		`{{ with .scope }}{{ else }}{{ with . }}{{ range . }}x{{ end }}{{ end }}{{ end }}`,
		`{{ define "a" }}x{{ end }}`,
		`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`,
		`{{ define "" }}{{ template "" . }}{{ end }}`,
		`{{ block "a" . }}x{{ end }}`,
		`{{ template "" . }}`,
		`{{ break }}`,
	} {
		started := time.Now()
		if got, err := renderTemplate(template, fields); err == nil {
			t.Errorf("%s renders %q", template, got)
		}
		if time.Since(started) > time.Second {
			t.Errorf("%s took %s", template, time.Since(started))
		}
	}
}

func TestBombsAreRefusedQuickly(t *testing.T) {
	grow := `{{ $a := .long }}` + strings.Repeat(`{{ $a = print $a $a }}`, 2) // 40 kB
	double := strings.Repeat(`{{ $a = print $a $a }}`, 30)
	for name, template := range map[string]string{
		"doubling with variables":    `{{ $a := "x" }}` + double + `{{ $a }}`,
		"doubling through pipelines": `{{ .long` + strings.Repeat(` | print "" | urlquery | b64enc`, 40) + ` }}`,
		"much plain output":          strings.Repeat(`{{ .long }}`, 7),
		"replacing nothing by much":  grow + `{{ replace "" $a $a | len }}`,
		"replacing a letter by much": grow + `{{ replace "x" $a $a | len }}`,
		"joining much with much":     grow + `{{ splitList "" $a | join $a | len }}`,
		"joining with much":          grow + `{{ splitList "" .long | join $a | len }}`,
		"many arguments":             grow + `{{ print ` + strings.Repeat(`$a `, 2000) + ` | len }}`,
		"lists of lists":             grow + strings.Repeat(`{{ $b := splitList "" $a | toJson | splitList "" | toJson | quote }}`, 40) + `{{ $b }}`,
		"escapes of escapes":         `{{ .long` + strings.Repeat(` | quote`, 60) + ` }}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			got, err := renderTemplate(template, fields)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Errorf("it renders %d bytes", len(got))
			}
			if took, bytes := time.Since(started), after.TotalAlloc-before.TotalAlloc; took > 2*time.Second || bytes > 256<<20 {
				t.Errorf("it took %s and %d MB", took, bytes>>20)
			}
		})
	}
}

func TestTheErrorOfATemplateHoldsNoSecret(t *testing.T) {
	for _, template := range []string{
		"{{ .access_token ", "{{ toJson .access_token .access_token }}", "{{ index .access_token 99999 }}", "{{ slice .access_token 5 1 }}", "{{ .access_token.x }}",
		"{{ join .access_token }}", "{{ first .access_token }}", "{{ call .access_token }}", "{{ template .access_token }}", "{{ lt .access_token 1 }}",
		"{{ index . .access_token .access_token }}", "{{ " + givenServer + " }}",
	} {
		_, err := renderTemplate(template, fields)
		if err == nil {
			t.Errorf("%s renders", template)
		} else if strings.Contains(err.Error(), givenToken) {
			t.Errorf("%s says %v", template, err)
		}
	}
}

func TestATemplateThatCannotBeRenderedIsLeftOut(t *testing.T) {
	got, err := renderTemplates(map[string]string{"b": "{{", "a": "{{ range . }}{{ end }}", "c": "x"}, fields)
	if err == nil || !strings.HasPrefix(err.Error(), "spec.tokenSecret.data[a]: ") || !maps.Equal(got, map[string]string{"c": "x"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := renderTemplates(nil, fields); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "{{ .authorization }}", "{{ replace \"\" .long .long }}", "{{ splitList \"\" .long | join .long }}", "{{ define \"\" }}{{ end }}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		if len(template) > 8192 {
			return
		}
		out, err := renderTemplate(template, fields)
		if len(out) > maxRendered {
			t.Errorf("%d bytes", len(out))
		}
		if err != nil && strings.Contains(err.Error(), givenToken) && !strings.Contains(template, givenToken) {
			t.Errorf("the error says %v", err)
		}
	})
}
