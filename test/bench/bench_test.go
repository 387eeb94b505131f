package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const auditLines = `{"verb":"update","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/mcp-connection-system/secrets/x","objectRef":{"resource":"secrets","namespace":"mcp-connection-system","name":"x"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-01T12:00:00.000000Z","stageTimestamp":"2026-11-01T12:00:00.010000Z"}
{"verb":"update","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/secrets/c-token","objectRef":{"resource":"secrets","namespace":"a","name":"c-token"},"responseStatus":{"code":409},"requestReceivedTimestamp":"2026-11-01T12:00:01.000000Z","stageTimestamp":"2026-11-01T12:00:01.010000Z"}
{"verb":"watch","stage":"ResponseStarted","requestURI":"/api/v1/secrets?sendInitialEvents=true","objectRef":{"resource":"secrets"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-01T12:00:02.000000Z","stageTimestamp":"2026-11-01T12:00:02.010000Z"}
{"verb":"watch","stage":"ResponseComplete","requestURI":"/api/v1/secrets?sendInitialEvents=true","objectRef":{"resource":"secrets"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-01T12:00:02.000000Z","stageTimestamp":"2026-11-01T12:05:02.010000Z"}
{"verb":"list","stage":"ResponseComplete","requestURI":"/apis/coordination.k8s.io/v1/namespaces/default/leases","objectRef":{"resource":"leases","namespace":"default"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-01T12:00:02.500000Z","stageTimestamp":"2026-11-01T12:00:02.510000Z"}
{"verb":"get","stage":"ResponseComplete","requestURI":"/apis","responseStatus":{"code":200},"requestReceivedTimestamp":"2026-11-01T12:00:03.000000Z","stageTimestamp":"2026-11-01T12:00:03.010000Z"}
{"verb":"get","stage":"Respon`

func TestTheAuditLogIsCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(auditLines), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &auditLog{file: file}
	from := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	seen, err := log.between(from, from.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	counts := seen.counts()
	for _, kind := range []string{"update credential secret", "update token secret", "list, then watch secrets",
		"list leases", "get discovery"} {
		if counts[kind] != 1 {
			t.Errorf("%s: %d, want 1", kind, counts[kind])
		}
	}
	got := seen.traffic(2)
	if got.Writes != 1 || got.Gets != 0 || got.Lists != 1 || got.Conflicts != 1 || got.ConflictPercent != 50 {
		t.Errorf("got %+v", got)
	}
	if span := seen.span(); span != 3010*time.Millisecond {
		t.Errorf("span %s, from the first request to the last answer", span)
	}
	if some, err := log.between(from, from.Add(time.Second)); err != nil || len(some) != 1 {
		t.Errorf("a window holds %d requests, %v", len(some), err)
	}
}

func TestSpread(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i)*time.Millisecond)
	}
	if got := spreadOf(all); got != (spread{P50: 51, P99: 100, Max: 100}) {
		t.Errorf("got %+v", got)
	}
}

func TestCopiesInMemoryFindsWhatIsThere(t *testing.T) {
	needle := "needle-" + oauthtest.Random(12)
	count, err := copiesInMemory(os.Getpid(), needle)
	switch {
	case runtime.GOOS != "linux":
		t.Skip("only Linux shows the memory of a process in /proc")
	case err != nil:
		t.Fatal(err)
	case count == 0:
		t.Error("a string of this process was not found in its memory")
	}
	runtime.KeepAlive(needle)
}

func TestAnAuditLogThatWasReplacedIsNotReadOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	log := &auditLog{file: file}
	if err := os.WriteFile(file, []byte(auditLines), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := log.read(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := log.read(); err == nil {
		t.Error("what came between is taken for nothing")
	}
}
