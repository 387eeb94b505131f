package gitops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// run runs a script as Argo CD does (argo-cd, util/lua, 3.6): no library but package, base and table, of os only time
// and date, a second of time, and the object as the global obj. It returns what the script returns.
func run(t *testing.T, script string, obj *unstructured.Unstructured) any {
	t.Helper()
	out, err := runLua(t.Context(), script, obj)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func runLua(ctx context.Context, script string, obj *unstructured.Unstructured) (any, error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase,
		lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	l.PreloadModule(lua.OsLibName, safeOs)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", luaValue(l, obj.DeepCopy().Object))
	if err := l.DoString(script); err != nil {
		return nil, err
	}
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("the script returns a %s, not a table", l.Get(-1).Type())
	}
	text, err := luajson.Encode(table)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(text, &out)
}

// safeOs is what Argo CD leaves of gopher-lua's os, of which its functions are copies.
func safeOs(l *lua.LState) int {
	all := lua.NewState(lua.Options{SkipOpenLibs: true})
	all.Push(all.NewFunction(lua.OpenOs))
	all.Call(0, 1)
	whole := all.CheckTable(-1)
	some := l.NewTable()
	for _, name := range []string{"time", "date"} {
		some.RawSetString(name, l.NewFunction(whole.RawGetString(name).(*lua.LFunction).GFunction))
	}
	l.Push(some)
	return 1
}

func luaValue(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		array := l.CreateTable(len(v), 0)
		for _, item := range v {
			array.Append(luaValue(l, item))
		}
		return array
	case map[string]any:
		table := l.CreateTable(0, len(v))
		for key, item := range v {
			table.RawSetString(key, luaValue(l, item))
		}
		return table
	}
	return lua.LNil
}

func TestScriptsHaveNothingButWhatArgoCDOpens(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	for script, works := range map[string]bool{
		`table.insert({}, 1) return {}`:                true,
		`return {now = require("os").date("!%Y")}`:     true,
		`require("os").execute("true") return {}`:      false,
		`return {x = string.format("%d", 1)}`:          false,
		`return {x = math.max(1, 2)}`:                  false,
		`return {x = os.date()}`:                       false,
		`while true do end`:                            false,
		`return 1`:                                     false,
		`io.open("/etc/passwd") return {}`:             false,
		`return {x = require("io").open("/dev/null")}`: false,
	} {
		if _, err := runLua(t.Context(), script, obj); (err == nil) != works {
			t.Errorf("%s ends with %v", script, err)
		}
	}
}

// health is what Argo CD shows of an object.
type health struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
}

// healthOf is gitops-engine's GetResourceHealth with a script: what is being deleted never reaches the script.
func healthOf(ctx context.Context, script string, obj *unstructured.Unstructured) (health, error) {
	if obj.GetDeletionTimestamp() != nil {
		return health{"Progressing", "Pending deletion"}, nil
	}
	return scriptHealth(ctx, script, obj)
}

// scriptHealth is what the script says.
func scriptHealth(ctx context.Context, script string, obj *unstructured.Unstructured) (health, error) {
	out, err := runLua(ctx, script, obj)
	if err != nil {
		return health{}, err
	}
	fields, ok := out.(map[string]any)
	if !ok {
		return health{}, errors.New("the script returns a list")
	}
	status, _ := fields["status"].(string)
	message, _ := fields["message"].(string)
	return health{status, message}, nil
}
