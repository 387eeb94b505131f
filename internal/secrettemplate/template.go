// Package secrettemplate renders the templates of spec.tokenSecret.data, by which tenants give the token
// Secret the keys that their programs read.
//
// A template is Go's text/template over the token Secret's own keys (Fields), and nothing else: no other
// object, no environment, no network, no clock. Whoever may write a connection writes templates, and the
// operator renders them again at every refresh, so none may cost much. Render therefore
//
//   - parses each template and refuses loops, nested templates and keys that no token Secret has, reached or not;
//   - offers functions by list only, each wrapped so that its arguments and its result stay small, and all calls of one
//     template together do not take long;
//   - bounds the result of one template and of all together, for what is larger than a Secret could not be written.
//
// A template that cannot be rendered holds up neither the others nor the token: Render leaves it out, and
// Errors says of each why. No error holds a value: fields are secrets, and errors end in status.
package secrettemplate

import (
	"errors"
	"fmt"
	"html/template"
	"maps"
	"reflect"
	"slices"
	"strings"
	texttemplate "text/template"
	"text/template/parse"

	sprig "github.com/go-task/slim-sprig/v3"
)

const (
	// maxRendered bounds the result of a template and of every function in it, in bytes.
	maxRendered = 64 << 10
	// maxWork bounds what all functions of one template are given and return together, in bytes: small results of many
	// calls would take long as well.
	maxWork = 512 << 10
	// maxRenderedInAll bounds the results of all templates together: a Secret of more than 1 MiB could not be written,
	// and the token must get through.
	maxRenderedInAll = 512 << 10
	// maxTemplateError bounds what a message says of one template, in bytes: parse errors quote it.
	maxTemplateError = 300
)

// templateFunctions are what spec.tokenSecret.data may call, by list: nothing that reads the environment, the network
// or the clock, and nothing that can run for long.
var templateFunctions = []string{
	"trim", "trimAll", "trimPrefix", "trimSuffix", "upper", "lower", "replace", "quote", "squote", "b64enc", "b64dec",
	"toJson", "default", "empty", "contains", "hasPrefix", "hasSuffix", "splitList", "join", "ternary", "first", "last",
}

var (
	errTooLarge      = fmt.Errorf("the result is larger than %d bytes", maxRendered)
	errTooLargeInAll = fmt.Errorf("with it the results of all templates are larger than %d bytes", maxRenderedInAll)
	errTooMuchWork   = fmt.Errorf("its functions work on more than %d bytes", maxWork)
)

// Errors says of each template that cannot be rendered why, by its key. It never holds a value.
type Errors map[string]error

// Error names the templates in the order of their keys, as the fields of the spec that they are. It is
// bounded, though it quotes templates.
func (e Errors) Error() string {
	texts := make([]string, 0, len(e))
	for _, key := range slices.Sorted(maps.Keys(e)) {
		text := shortened(e[key].Error(), maxTemplateError)
		texts = append(texts, fmt.Sprintf("spec.tokenSecret.data[%s]: %s", key, text))
	}
	return strings.Join(texts, "; ")
}

// shortened is a text of at most limit bytes.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

// Render renders each template with the token fields, and returns the results by the keys of the templates.
// Those that cannot be rendered are not among them: the errors, nil if there are none, say why.
func Render(templates, fields map[string]string) (map[string]string, Errors) {
	out := make(map[string]string, len(templates))
	var broken Errors
	left := maxRenderedInAll
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		rendered, err := renderTemplate(templates[key], fields)
		if err == nil && len(rendered) > left {
			err = errTooLargeInAll
		}
		if err == nil {
			left -= len(rendered)
			out[key] = rendered
			continue
		}
		if broken == nil {
			broken = Errors{}
		}
		broken[key] = err
	}
	return out, broken
}

func renderTemplate(text string, fields map[string]string) (string, error) {
	t, err := texttemplate.New("").Option("missingkey=error").Funcs(boundedFunctions()).Parse(text)
	if err != nil {
		return "", errors.New("it does not parse: " + strings.TrimPrefix(err.Error(), "template: "))
	}
	if len(t.Templates()) > 1 || loops(t.Root) {
		return "", errors.New("range, define, block and template are not available")
	}
	if name := unknownField(t.Root, fields); name != "" {
		return "", unknownKey(name, fields)
	}
	var out strings.Builder
	if err := t.Execute(&limitedWriter{to: &out, left: maxRendered}, fields); err != nil {
		// The error of text/template can quote arguments, and those are secrets.
		for _, known := range []error{errTooLarge, errTooMuchWork, errUnknownKey} {
			if errors.Is(err, known) {
				return "", known
			}
		}
		return "", errors.New("it cannot be rendered: check the arguments of its functions")
	}
	return out.String(), nil
}

// boundedFunctions wraps every function so that its result stays small, for results feed further calls, and all calls
// together do not take long.
func boundedFunctions() texttemplate.FuncMap {
	all, work := sprig.TxtFuncMap(), maxWork
	funcs := texttemplate.FuncMap{}
	all["replace"], all["join"] = boundedReplace, boundedJoin(all["join"].(func(string, any) string))
	for _, name := range templateFunctions {
		funcs[name] = bounded(all[name], &work)
	}
	refused := func(...any) (string, error) { return "", errors.New("not available") }
	for _, name := range []string{"printf", "println", "call", "js", "html"} {
		funcs[name] = refused
	}
	funcs["print"] = bounded(fmt.Sprint, &work)
	funcs["urlquery"] = bounded(template.URLQueryEscaper, &work)
	funcs["index"] = indexed
	return funcs
}

// boundedReplace and boundedJoin are functions whose result can be the product of their arguments: its size is known
// before it is made.
func boundedReplace(old, by, text string) (string, error) {
	if len(text)+strings.Count(text, old)*len(by) > 2*maxRendered {
		return "", errTooLarge
	}
	return strings.ReplaceAll(text, old, by), nil
}

func boundedJoin(join func(string, any) string) func(string, any) (string, error) {
	return func(separator string, list any) (string, error) {
		v := reflect.ValueOf(list)
		if (v.Kind() == reflect.Slice || v.Kind() == reflect.Array) && v.Len()*len(separator) > maxRendered {
			return "", errTooLarge
		}
		return join(separator, list), nil
	}
}

// bounded wraps a function so that it refuses arguments and results that are large, and what exceeds the work
// that is left.
func bounded(f any, left *int) any {
	fn := reflect.ValueOf(f)
	in, variadic := make([]reflect.Type, fn.Type().NumIn()), fn.Type().IsVariadic()
	for i := range in {
		in[i] = fn.Type().In(i)
	}
	errorType := reflect.TypeFor[error]()
	wrapped := reflect.FuncOf(in, []reflect.Type{fn.Type().Out(0), errorType}, variadic)
	return reflect.MakeFunc(wrapped, func(args []reflect.Value) []reflect.Value {
		if err := spend(left, 2*maxRendered, args...); err != nil {
			return []reflect.Value{reflect.Zero(fn.Type().Out(0)), reflect.ValueOf(err)}
		}
		var out []reflect.Value
		if variadic {
			out = fn.CallSlice(args)
		} else {
			out = fn.Call(args)
		}
		if err := spend(left, maxRendered, out[0]); err != nil {
			return []reflect.Value{reflect.Zero(out[0].Type()), reflect.ValueOf(err)}
		}
		if len(out) == 1 {
			out = append(out, reflect.Zero(errorType))
		}
		return out
	}).Interface()
}

// spend takes the size of values, which is at most limit, from what is left.
func spend(left *int, limit int, values ...reflect.Value) error {
	n := size(values...)
	*left -= n
	switch {
	case n > limit:
		return errTooLarge
	case *left < 0:
		return errTooMuchWork
	}
	return nil
}

// size is about how many bytes values have as text. It does not look further once they are too large.
func size(values ...reflect.Value) int {
	total := 0
	for _, v := range values {
		if v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.String:
			total += v.Len()
		case reflect.Slice, reflect.Array:
			total += v.Len()
			for i := 0; i < v.Len() && total <= 2*maxRendered; i++ {
				total += size(v.Index(i))
			}
		case reflect.Invalid:
		default:
			total += len(fmt.Sprint(v.Interface()))
		}
		if total > 2*maxRendered {
			break
		}
	}
	return total
}

// loops reports whether a template holds a node that can run for long.
func loops(node parse.Node) bool {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return false
		}
		for _, child := range n.Nodes {
			if loops(child) {
				return true
			}
		}
	case *parse.IfNode:
		return loops(n.List) || loops(n.ElseList)
	case *parse.WithNode:
		return loops(n.List) || loops(n.ElseList)
	case *parse.RangeNode, *parse.TemplateNode:
		return true
	}
	return false
}

// limitedWriter fails once more than left bytes are written.
type limitedWriter struct {
	to   *strings.Builder
	left int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return 0, errTooLarge
	}
	w.left -= len(p)
	return w.to.Write(p)
}
