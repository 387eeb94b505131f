package harness

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Page is what a browser shows after a navigation.
type Page struct {
	// URL in the address bar.
	URL *url.URL
	// Status of the answer.
	Status int
	// Header of the answer.
	Header http.Header
	// Body as received.
	Body string
	// Text that a person sees, one line per block.
	Text string
	// Forms of the page.
	Forms []*Form
	// Refresh is the delay and the address of a page that reloads itself; nil if it does not.
	Refresh *Refresh
}

// Refresh is a reload that the page asks for.
type Refresh struct {
	Seconds int
	URL     *url.URL
}

// Form is a form of a page, with what would be sent.
type Form struct {
	// Action is where it goes.
	Action *url.URL
	// Method is GET or POST.
	Method string
	// Fields are the named fields with their values.
	Fields url.Values
	// Buttons are the submit buttons; a named one is sent only if it was pressed.
	Buttons []Button
}

// Button submits a form.
type Button struct{ Name, Value, Text string }

// Press adds the named button whose text or value holds the given word.
func (f *Form) Press(word string) error {
	for _, b := range f.Buttons {
		if strings.Contains(strings.ToLower(b.Text+" "+b.Value), strings.ToLower(word)) {
			if b.Name != "" {
				f.Fields.Set(b.Name, b.Value)
			}
			return nil
		}
	}
	return fmt.Errorf("the form has no button %q", word)
}

// parsePage reads an answer as a browser without JavaScript would.
func parsePage(at *url.URL, status int, header http.Header, body string) (*Page, error) {
	page := &Page{URL: at, Status: status, Header: header, Body: body}
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	page.walk(root, &text, nil)
	page.Text = tidyText(text.String())
	if value := header.Get("Refresh"); value != "" {
		page.setRefresh(value)
	}
	return page, nil
}

// walk collects text, forms and a refresh from a node and everything below it.
func (p *Page) walk(n *html.Node, text *strings.Builder, form *Form) {
	switch {
	case n.Type == html.TextNode:
		text.WriteString(n.Data)
		return
	case n.DataAtom == atom.Script || n.DataAtom == atom.Style || n.DataAtom == atom.Title:
		return
	case n.DataAtom == atom.Meta && strings.EqualFold(attribute(n, "http-equiv"), "refresh"):
		p.setRefresh(attribute(n, "content"))
	case n.DataAtom == atom.Form:
		form = p.newForm(n)
	case form != nil && (n.DataAtom == atom.Input || n.DataAtom == atom.Button || n.DataAtom == atom.Textarea):
		form.addField(n)
	}
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		p.walk(child, text, form)
	}
	if isBlock(n.DataAtom) {
		text.WriteString("\n")
	}
}

func (p *Page) newForm(n *html.Node) *Form {
	action, err := p.URL.Parse(attribute(n, "action"))
	if err != nil {
		action = p.URL
	}
	form := &Form{Action: action, Method: strings.ToUpper(attribute(n, "method")), Fields: url.Values{}}
	if form.Method == "" {
		form.Method = http.MethodGet
	}
	p.Forms = append(p.Forms, form)
	return form
}

func (f *Form) addField(n *html.Node) {
	name, value, kind := attribute(n, "name"), attribute(n, "value"), strings.ToLower(attribute(n, "type"))
	switch {
	case n.DataAtom == atom.Button && kind != "button" && kind != "reset":
		var text strings.Builder
		(&Page{}).walk(&html.Node{FirstChild: n.FirstChild}, &text, nil)
		f.Buttons = append(f.Buttons, Button{Name: name, Value: value, Text: strings.TrimSpace(text.String())})
	case kind == "submit":
		f.Buttons = append(f.Buttons, Button{Name: name, Value: value, Text: value})
	case name == "" || kind == "button" || kind == "reset" || (kind == "checkbox" && !hasAttribute(n, "checked")):
		// not sent
	default:
		f.Fields.Set(name, value)
	}
}

// setRefresh reads "5", or "5; url=/next".
func (p *Page) setRefresh(value string) {
	delay, rest, _ := strings.Cut(value, ";")
	refresh := &Refresh{URL: p.URL}
	if _, err := fmt.Sscanf(strings.TrimSpace(delay), "%d", &refresh.Seconds); err != nil {
		return
	}
	rest = strings.TrimSpace(rest)
	if len(rest) > 4 && strings.EqualFold(rest[:4], "url=") {
		if target, err := p.URL.Parse(strings.Trim(rest[4:], `'"`)); err == nil {
			refresh.URL = target
		}
	}
	p.Refresh = refresh
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

func isBlock(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.H1, atom.H2, atom.H3, atom.Li, atom.Dt, atom.Dd, atom.Tr, atom.Br, atom.Header,
		atom.Footer, atom.Main, atom.Section, atom.Form, atom.Button, atom.Pre:
		return true
	}
	return false
}

// tidyText drops empty lines and runs of blanks.
func tidyText(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
