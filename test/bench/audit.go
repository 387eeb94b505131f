package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// request is one line of the audit log.
type request struct {
	Verb       string `json:"verb"`
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	ObjectRef  *struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Done     time.Time `json:"stageTimestamp"`
}

// kind names what was asked for: verb and resource, with credential and token Secrets told apart.
func (r *request) kind() string {
	if r.ObjectRef == nil || r.ObjectRef.Resource == "" {
		return r.Verb + " discovery"
	}
	name := r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		name += "/" + r.ObjectRef.Subresource
	}
	if name == "secrets" && r.ObjectRef.Namespace != "" {
		name = "token secret"
		if r.ObjectRef.Namespace == harness.OperatorNamespace {
			name = "credential secret"
		}
	}
	if strings.Contains(r.RequestURI, "dryRun=All") {
		return "try to " + r.Verb + " " + name // the operator's check at its start
	}
	if r.Verb == "watch" && strings.Contains(r.RequestURI, "sendInitialEvents=true") {
		return "list, then watch " + name // one request that does both
	}
	return r.Verb + " " + name
}

func (r *request) write() bool {
	switch r.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return r.ObjectRef != nil
	}
	return false
}

// auditLog reads what the API server appends.
type auditLog struct {
	file     string
	offset   int64
	requests []request
}

// read takes in what was appended since the last call.
func (a *auditLog) read() error {
	file, err := os.Open(a.file)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < a.offset {
		return fmt.Errorf("the audit log had %d bytes and has %d: what came between is lost", a.offset, info.Size())
	}
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(file, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the end, or half a line that is read again next time
		}
		a.offset += int64(len(line))
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		// A watch counts when it begins, everything else when it ends.
		if (r.Verb == "watch") == (r.Stage == "ResponseStarted") {
			a.requests = append(a.requests, r)
		}
	}
}

// between are the requests that arrived from one instant until another.
func (a *auditLog) between(from, to time.Time) (requests, error) {
	if err := a.read(); err != nil {
		return nil, err
	}
	var out requests
	for _, r := range a.requests {
		if !r.Received.Before(from) && r.Received.Before(to) {
			out = append(out, r)
		}
	}
	return out, nil
}

type requests []request

// counts are requests by kind.
func (rs requests) counts() map[string]int {
	out := map[string]int{}
	for i := range rs {
		out[rs[i].kind()]++
	}
	return out
}

// traffic sums up the requests of a phase.
type traffic struct {
	PerUnit   map[string]float64 `json:"perUnit"`
	Writes    float64            `json:"writesPerUnit"`
	Gets      float64            `json:"getsPerUnit"`
	Lists     int                `json:"lists"`
	Events    int                `json:"events"`
	Conflicts int                `json:"conflicts"`
	// Refused are other answers than 2xx, conflicts and objects that are not there yet.
	Refused int `json:"refused"`
	// ConflictPercent is of all writes.
	ConflictPercent float64 `json:"conflictPercent"`
}

func (rs requests) traffic(units int) traffic {
	t := traffic{PerUnit: map[string]float64{}}
	writes := 0
	for i := range rs {
		r := &rs[i]
		t.PerUnit[r.kind()] += 1 / float64(units)
		switch {
		case r.write():
			writes++
		case r.Verb == "get" && r.ObjectRef != nil:
			t.Gets += 1 / float64(units)
		case strings.HasPrefix(r.kind(), "list") &&
			r.kind() != "list leases": // which is done by the clock, however many tokens there are
			t.Lists++
		}
		if r.ObjectRef != nil && r.ObjectRef.Resource == "events" {
			t.Events++
		}
		switch code := r.ResponseStatus.Code; {
		case code == http.StatusConflict:
			t.Conflicts++
		case code >= 300 && code != http.StatusNotFound:
			t.Refused++
		}
	}
	t.Writes = float64(writes) / float64(units)
	if writes > 0 {
		t.ConflictPercent = 100 * float64(t.Conflicts) / float64(writes)
	}
	return t
}

// lastDone is when the last answer was given, by name of the object, for one kind of request.
func (rs requests) lastDone(kind string) map[string]time.Time {
	out := map[string]time.Time{}
	for i := range rs {
		if r := &rs[i]; r.kind() == kind && r.Done.After(out[r.ObjectRef.Name]) && r.ResponseStatus.Code < 300 {
			out[r.ObjectRef.Name] = r.Done
		}
	}
	return out
}

// span is from the first request to the last answer.
func (rs requests) span() time.Duration {
	var first, last time.Time
	for i := range rs {
		if first.IsZero() || rs[i].Received.Before(first) {
			first = rs[i].Received
		}
		if rs[i].Verb != "watch" && rs[i].Done.After(last) {
			last = rs[i].Done
		}
	}
	if last.Before(first) {
		return 0
	}
	return last.Sub(first)
}
