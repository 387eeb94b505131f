package secrettemplate

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// templateKeys are what a template can read. All of them are there in every token Secret's templates; what
// this token has not is empty.
var templateKeys = []string{
	v1alpha1.KeyAccessToken, v1alpha1.KeyTokenType, v1alpha1.KeyAuthorization, v1alpha1.KeyExpiresAt, v1alpha1.KeyScope,
	v1alpha1.KeyServerURL, v1alpha1.KeyResource, v1alpha1.KeyDPoPJWK,
}

var errUnknownKey = errors.New("index is given a key that is not there")

// Fields are what templates can read of a token Secret's own data: every key of templateKeys, empty where
// data has none.
func Fields(data map[string]string) map[string]string {
	fields := make(map[string]string, len(templateKeys))
	for _, key := range templateKeys {
		fields[key] = data[key]
	}
	return fields
}

func unknownKey(name string, fields map[string]string) error {
	return fmt.Errorf("it reads .%s, which is not a key (%s)", name, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
}

// unknownField is the first field in a template that no token Secret has, also where it is not reached; empty
// if there is none. The text of a template is no secret.
func unknownField(node parse.Node, fields map[string]string) string {
	name := ""
	switch n := node.(type) {
	case *parse.FieldNode:
		name = n.Ident[0]
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			name = n.Ident[1]
		}
	}
	if _, known := fields[name]; name != "" && !known {
		return name
	}
	for _, child := range children(node) {
		if name := unknownField(child, fields); name != "" {
			return name
		}
	}
	return ""
}

// children are the nodes right below one, those of loops and calls excepted: they are refused.
func children(node parse.Node) []parse.Node {
	switch n := node.(type) {
	case *parse.ListNode:
		if n != nil {
			return n.Nodes
		}
	case *parse.ActionNode:
		return []parse.Node{n.Pipe}
	case *parse.IfNode:
		return []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.WithNode:
		return []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.ChainNode:
		return []parse.Node{n.Node}
	case *parse.CommandNode:
		return n.Args
	case *parse.PipeNode:
		commands := make([]parse.Node, 0, len(n.Cmds))
		for _, command := range n.Cmds {
			commands = append(commands, command)
		}
		return commands
	}
	return nil
}

// indexed is the function index for what templates can hold, with an error where the original has an empty string.
func indexed(item any, key any) (any, error) {
	value := reflect.ValueOf(item)
	switch value.Kind() {
	case reflect.Map:
		name, isText := key.(string)
		if !isText {
			return nil, errUnknownKey
		}
		if found := value.MapIndex(reflect.ValueOf(name)); found.IsValid() {
			return found.Interface(), nil
		}
	case reflect.Slice, reflect.Array, reflect.String:
		if i, isNumber := key.(int); isNumber && i >= 0 && i < value.Len() {
			return value.Index(i).Interface(), nil
		}
	}
	return nil, errUnknownKey
}
