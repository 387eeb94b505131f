package mcpoauth

import (
	"encoding/json"
	"errors"
)

// What strangers send is read as a stream: only what is wanted of it is kept, whatever else it holds.

// eachMember reads an object and has f read the value of each member.
func eachMember(dec *json.Decoder, f func(name string) error) error {
	return each(dec, '{', func() error {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		return f(name)
	})
}

// eachElement reads an array and has f read each element. Null is an empty one.
func eachElement(dec *json.Decoder, f func() error) error { return each(dec, '[', f) }

func each(dec *json.Decoder, begin json.Delim, f func() error) error {
	token, err := dec.Token()
	switch {
	case err != nil:
		return err
	case token == nil && begin == '[':
		return nil
	case token != begin:
		return errNotJSON
	}
	for dec.More() {
		if err := f(); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// decodeValue leaves what has another type as it is.
func decodeValue(dec *json.Decoder, into any) error {
	err := dec.Decode(into)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return nil
	}
	return err
}

// skipped is a value that nobody looks at.
type skipped struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*skipped) UnmarshalJSON([]byte) error { return nil }

// errEnough ends the reading of a list of which more is there than is wanted.
var errEnough = errors.New("that is enough")

func skipValue(dec *json.Decoder) error { return dec.Decode(&skipped{}) }
