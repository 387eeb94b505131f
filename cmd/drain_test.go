package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/internal/claims"
)

// deployment is the one of the manifests.
func deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	raw, err := os.ReadFile("../config/manager/manager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(raw), "\n---\n") {
		d := &appsv1.Deployment{}
		if err := yaml.Unmarshal([]byte(document), d); err == nil && d.Kind == "Deployment" {
			return d
		}
	}
	t.Fatal("the manifests hold no Deployment")
	return nil
}

// Together with the order of the time-outs of one spend, which internal/claims holds.
func TestAStopLeavesASpendTimeToEnd(t *testing.T) {
	if claims.SpendWithin >= shutdownTimeout {
		t.Errorf("a spend takes up to %s, and the lease is given up after %s", claims.SpendWithin, shutdownTimeout)
	}
	grace := time.Duration(*deployment(t).Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	if grace <= shutdownTimeout+claims.SpendWithin {
		t.Errorf("the process is killed after %s, when workers may have stopped only after %s with an answer to save", grace,
			shutdownTimeout)
	}
}

func TestTheManifestsTellTheUIDOfThePod(t *testing.T) {
	for _, env := range deployment(t).Spec.Template.Spec.Containers[0].Env {
		if env.Name == envPodUID && env.ValueFrom != nil && env.ValueFrom.FieldRef != nil &&
			env.ValueFrom.FieldRef.FieldPath == "metadata.uid" {
			return
		}
	}
	t.Error("a restarted container would watch claims of the one before it, which is dead")
}

func TestAHolderBeginsWithItsPod(t *testing.T) {
	t.Setenv(envPodUID, "uid")
	a, b := holder(), holder()
	if !strings.HasPrefix(a, "uid/") || !strings.HasPrefix(b, "uid/") || a == b {
		t.Errorf("two processes are called %s and %s", a, b)
	}
	t.Setenv(envPodUID, "")
	if c := holder(); strings.HasPrefix(c, "/") {
		t.Errorf("outside of a pod a process is called %s", c)
	}
}

func TestAProcessThatSavesIsAliveAndNotReady(t *testing.T) {
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		w := httptest.NewRecorder()
		alive().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s answers %d, want %d", path, w.Code, want)
		}
	}
}
