package secrettemplate

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	givenToken  = "the-access-token"
	givenServer = "https://mcp.example.com/mcp"
)

var fields = func() map[string]string {
	all := Fields(map[string]string{
		"access_token": givenToken, "token_type": "Bearer", "authorization": "Bearer " + givenToken, "scope": "a b",
		"server_url": givenServer,
	})
	all["long"] = strings.Repeat("x", 10_000)
	return all
}()

func TestTemplatesRender(t *testing.T) {
	for template, want := range map[string]string{
		"plain":                                                                     "plain",
		"{{ .authorization }}":                                                      "Bearer " + givenToken,
		"{{ .expires_at }}|{{ .dpop_jwk }}":                                         "|",
		`{{ .expires_at | default "none" }}`:                                        "none",
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
		`{{ empty .expires_at }}`:                    "true",
		`{{ $t := .token_type }}{{ $t }}`:            "Bearer",
		`{{ urlquery "a b" }}{{ print "a" 1 }}`:      "a+ba1",
		`{{ index . "scope" }}{{ slice "abc" 1 2 }}`: "a bb",
		`{{ and .scope (not .resource) | print }}`:   "true",
		`{{ index (splitList " " .scope) 1 }}`:       "b",
		`{{/* nothing */}}`:                          "",
	} {
		if got, err := renderTemplate(template, fields); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", template, got, want, err)
		}
	}
}

func TestFunctionsAreAvailableByListOnly(t *testing.T) {
	for _, call := range []string{
		`env "HOME"`, `expandenv "$HOME"`, `getHostByName "a"`, `now`, `genPrivateKey "rsa"`, `randAlphaNum 5`, `uuidv4`,
		`repeat 9 "a"`, `until 9`,
		`untilStep 0 9 1`, `regexMatch "a" "a"`, `list "a"`, `dict "a" "b"`, `fail "a"`, `indent 4 "a"`, `cat "a"`,
		`osBase "a"`, `date "2006" "a"`,
		`printf "%1000000000d" 1`, `println "a"`, `html "a"`, `js "a"`, `call .scope`,
	} {
		if got, err := renderTemplate("{{ "+call+" }}", fields); err == nil {
			t.Errorf("%s renders %q", call, got)
		}
	}
	available := slices.Collect(maps.Keys(boundedFunctions()))
	want := append(slices.Clone(templateFunctions), "print", "urlquery", "index", "printf", "println", "call", "js",
		"html")
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
		"lists of lists": grow + strings.Repeat(
			`{{ $b := splitList "" $a | toJson | splitList "" | toJson | quote }}`, 40) + `{{ $b }}`,
		"escapes of escapes": `{{ .long` + strings.Repeat(` | quote`, 60) + ` }}`,
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

// slow are templates of the greatest length whose single calls are all small.
func slow() map[string]string {
	grow := `{{ $a := .long }}` + strings.Repeat(`{{ $a = print $a $a }}`, 2) // 40 kB
	full := func(unit string) string { return grow + strings.Repeat(unit, (8192-len(grow))/len(unit)) }
	return map[string]string{
		"quoting": full("{{ $b := quote $a }}"), "replacing": full(`{{ $b := replace "x" "y" $a }}`),
		"upper": full("{{ $b := upper $a }}"),
		"JSON":  full("{{ $b := toJson $a }}"), "escaping": full("{{ $b := urlquery .long }}"),
		"printing":  full("{{ $b := print $a }}"),
		"splitting": full(`{{ $b := splitList "x" .long }}`), "searching": full(`{{ $b := contains "y" $a }}`),
		"trimming":         full(`{{ $b := trimAll "y" $a }}`),
		"little into much": full(`{{ $b := replace "" .long "x" }}`),
		"the last of many": full(`{{ $b := splitList "" .long | last }}`),
	}
}

func TestManySmallCallsAreTooMuchWork(t *testing.T) {
	for name, template := range slow() {
		if got, err := renderTemplate(template, fields); err == nil {
			t.Errorf("%s renders %d bytes", name, len(got))
		}
	}
}

// TestWhatCannotBeRefusedIsBounded has constructs of the language itself, which no budget counts.
func TestWhatCannotBeRefusedIsBounded(t *testing.T) {
	bombs := slow()
	bombs["parentheses"] = "{{ " + strings.Repeat("(", 4000) + ".scope" + strings.Repeat(")", 4000) + " }}"
	bombs["conditions"] = strings.Repeat("{{if 1}}", 540) + strings.Repeat("{{end}}", 540)
	bombs["comparisons"] = strings.Repeat("{{ $b := eq .long .long .long .long }}", 200)
	bombs["alternatives"] = "{{if 1}}" + strings.Repeat("{{else if 1}}", 600) + "{{end}}"
	bombs["much text"] = strings.Repeat("x", 8192)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	started := time.Now()
	_, err := Render(bombs, fields)
	runtime.ReadMemStats(&after)
	if took, bytes := time.Since(started), after.TotalAlloc-before.TotalAlloc; err == nil || took > 5*time.Second ||
		bytes > 256<<20 {
		t.Errorf("%d templates took %s and %d MB: %v", len(bombs), took, bytes>>20, err)
	}
}

func TestTemplatesReadNothingButTheTokenFields(t *testing.T) {
	t.Setenv("TEMPLATE_SECRET", "the-environment")
	all, err := renderTemplate("{{ . }}|{{ $ | toJson }}", map[string]string{"scope": "a"})
	if want := `map[scope:a]|{"scope":"a"}`; err != nil || all != want {
		t.Errorf("the whole of what a template sees is %q, want %q: %v", all, want, err)
	}
	for _, template := range []string{
		"{{ .Keys }}", "{{ .scope.Len }}", "{{ .scope.nothing }}", "{{ index . 1 }}", "{{ $.scope.x }}", "{{ $x }}",
		"{{ (index . \"scope\").x }}", `{{ call . }}`,
		`{{ len nil }}`, `{{ first . }}`, `{{ last "a" }}`, `{{ slice . 0 1 }}`,
	} {
		if got, err := renderTemplate(template, fields); err == nil && got != "" {
			t.Errorf("%s renders %q", template, got)
		}
	}
}

func TestTheResultsOfAllTemplatesFitIntoASecret(t *testing.T) {
	templates := map[string]string{}
	for i := range 16 {
		templates[string(rune('a'+i))] = strings.Repeat("{{ .long }}", 6) // 60 kB
	}
	got, err := Render(templates, fields)
	total := 0
	for _, text := range got {
		total += len(text)
	}
	if err == nil || !strings.Contains(err.Error(), "all templates") || total == 0 || total > maxRenderedInAll {
		t.Errorf("%d templates hold %d bytes: %v", len(got), total, err)
	}
}

func TestTheErrorOfATemplateHoldsNoSecret(t *testing.T) {
	for _, template := range []string{
		"{{ .access_token ", "{{ toJson .access_token .access_token }}", "{{ index .access_token 99999 }}",
		"{{ slice .access_token 5 1 }}", "{{ .access_token.x }}",
		"{{ join .access_token }}", "{{ first .access_token }}", "{{ call .access_token }}", "{{ template .access_token }}",
		"{{ lt .access_token 1 }}",
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
	got, err := Render(map[string]string{"b": "{{", "a": "{{ range . }}{{ end }}", "c": "x"}, fields)
	if err == nil || !strings.HasPrefix(err.Error(), "spec.tokenSecret.data[a]: ") ||
		!maps.Equal(got, map[string]string{"c": "x"}) {
		t.Errorf("%v, %v", got, err)
	}
	if !strings.Contains(err.Error(), "spec.tokenSecret.data[b]: ") {
		t.Errorf("of two broken templates only one is named: %v", err)
	}
	if got, err := Render(nil, fields); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAnUnknownKeyInATemplateIsAnErrorThatNamesIt(t *testing.T) {
	for template, name := range map[string]string{
		"{{ .acces_token }}":                                     "acces_token",
		"{{ $.acces_token }}":                                    "acces_token",
		`{{ .nothing | default "none" }}`:                        "nothing",
		"{{ if .expires_at }}{{ .nothing }}{{ end }}":            "nothing",
		"{{ if .nothing }}{{ end }}":                             "nothing",
		"{{ if .scope }}{{ else }}{{ quote .nothing }}{{ end }}": "nothing",
		"{{ with .nothing }}{{ . }}{{ end }}":                    "nothing",
		"{{ with .expires_at }}{{ else }}{{ .no }}{{ end }}":     "no",
		"{{ upper (trim .nothing) }}":                            "nothing",
		"{{ (.nothing).x }}":                                     "nothing",
		"{{ $a := .nothing }}":                                   "nothing",
		"{{ ($).nothing }}":                                      "",
		`{{ index . "nothing" }}`:                                "index",
		`{{ index . "" }}`:                                       "index",
		"{{ index . .access_token }}":                            "index",
	} {
		got, err := renderTemplate(template, fields)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s renders %q: %v", template, got, err)
		} else if strings.Contains(err.Error(), givenToken) {
			t.Errorf("%s says %v", template, err)
		}
	}
}

func TestWhatBrokenTemplatesAreSaidToBeIsBounded(t *testing.T) {
	templates := map[string]string{}
	for i := range 16 {
		templates[strings.Repeat("k", 250)+string(rune('a'+i))] = "{{ " + strings.Repeat("f", 8000) + " }}"
	}
	if _, err := Render(templates, fields); err == nil || len(err.Error()) > 16<<10 {
		t.Errorf("the message has %d bytes", len(err.Error()))
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "{{ .authorization }}", "{{ . | toJson }}", "{{ $a := .scope }}{{ $a }}",
		"{{ if .scope }}{{ else }}{{ end }}", "{{ with .scope }}{{ . }}{{ end }}",
		`{{ replace "" .long .long }}`, `{{ splitList "" .long | join .long }}`,
		`{{ splitList " " .scope | first | upper | quote }}`, `{{ ternary "y" "n" (contains "a" .scope) }}`,
		`{{ define "" }}{{ end }}`, `{{ template "" . }}`, "{{ range . }}{{ end }}", `{{ printf "%99999999d" 1 }}`,
		`{{ env "HOME" }}`, "{{ b64dec .access_token }}",
		`{{ index . "access_token" | print | urlquery }}`, "{{ slice .long 1 2 }}", "{{/* */}}", "{{- .scope -}}",
		"{{ 1i }}{{ 'a' }}{{ nil }}", `{{ eq .scope "a" | not }}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		if len(template) > 8192 {
			return
		}
		out, err := renderTemplate(template, fields)
		if len(out) > maxRendered || (err != nil && out != "") {
			t.Errorf("%d bytes and the error %v", len(out), err)
		}
		if err != nil && strings.Contains(err.Error(), givenToken) && !strings.Contains(template, givenToken) {
			t.Errorf("the error says %v", err)
		}
	})
}
