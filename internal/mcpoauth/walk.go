package mcpoauth

import (
	"encoding/json"
	"fmt"
	"strings"
)

const (
	// maxDepth of a metadata document; real ones have two or three levels.
	maxDepth = 16
	// maxParts of a metadata document are its members, objects and arrays together; real ones have some hundred.
	maxParts = 4000
	// maxElements of one list are kept; no list that this package looks at may usefully have more.
	maxElements = 5000
)

// deepest is how deeply a document is nested, whether it is valid or not.
func deepest(body []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case b == '"':
			quoted = !quoted
		case quoted && b == '\\':
			i++
		case quoted:
		case b == '{' || b == '[':
			depth++
			most = max(most, depth)
		case b == '}' || b == ']':
			depth--
		}
	}
	return most
}

// walker goes through a document that is valid JSON to see whether every reader sees the same in it. It makes no
// values: a document may hold half a million.
type walker struct {
	body []byte
	// at is where the walk is.
	at int
	// parts that may follow.
	parts int
	// short is the document without the ends of long lists, as far as copied; from is what is not copied yet.
	short []byte
	from  int
	// within says that the walk is in an end that is cut off.
	within bool
}

// walk fails if an object has a member twice, or the document one that differs from a known member only in case. It
// returns the document with its long lists cut.
func walk(body []byte, known []string) ([]byte, error) {
	w := walker{body: body, parts: maxParts}
	if err := w.value(known); err != nil {
		return nil, err
	}
	if w.from == 0 {
		return body, nil
	}
	return append(w.short, body[w.from:]...), nil
}

func (w *walker) value(known []string) error {
	begin := w.next()
	switch {
	case begin == '"':
		w.text()
		return nil
	case begin != '{' && begin != '[':
		w.scalar()
		return nil
	}
	if err := w.count(); err != nil {
		return err
	}
	w.at++
	if begin == '{' {
		return w.members(known)
	}
	return w.elements()
}

func (w *walker) count() error {
	if w.parts--; w.parts < 0 {
		return fmt.Errorf("it has more than %d members and lists", maxParts)
	}
	return nil
}

// members walks through an object to its end.
func (w *walker) members(known []string) error {
	seen := map[string]bool{}
	for w.next() != '}' {
		if err := w.count(); err != nil {
			return err
		}
		if err := w.member(seen, known); err != nil {
			return err
		}
		w.next() // the colon
		w.at++
		if err := w.value(nil); err != nil {
			return err
		}
		if w.next() == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

func (w *walker) member(seen map[string]bool, known []string) error {
	var name string
	if json.Unmarshal(w.text(), &name) != nil {
		return errNotJSON
	}
	if seen[name] {
		return fmt.Errorf("it has the member %+q twice", Sanitize(name, 64))
	}
	seen[name] = true
	for _, k := range known {
		if name != k && strings.EqualFold(name, k) {
			return fmt.Errorf("it has a member %+q, which must be spelled %q", Sanitize(name, 64), k)
		}
	}
	return nil
}

// elements walks through an array to its end.
func (w *walker) elements() error {
	cuts := false
	for n := 1; w.next() != ']'; n++ {
		if err := w.value(nil); err != nil {
			return err
		}
		if n == maxElements && !w.within {
			w.short, w.within, cuts = append(w.short, w.body[w.from:w.at]...), true, true
		}
		if w.next() == ',' {
			w.at++
		}
	}
	if cuts {
		w.from, w.within = w.at, false
	}
	w.at++
	return nil
}

// next skips what is no part of a value, and returns the byte after it.
func (w *walker) next() byte {
	for strings.IndexByte(" \t\r\n", w.body[w.at]) >= 0 {
		w.at++
	}
	return w.body[w.at]
}

// text walks through a string and returns it with its quotes.
func (w *walker) text() []byte {
	begin := w.at
	for w.at++; w.body[w.at] != '"'; w.at++ {
		if w.body[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.body[begin:w.at]
}

// scalar walks through a number, true, false or null.
func (w *walker) scalar() {
	for w.at < len(w.body) && strings.IndexByte(",]} \t\r\n", w.body[w.at]) < 0 {
		w.at++
	}
}
