package harness

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// envDoomed names the folder of an etcd that the test starts as a child process of its own, to be killed.
const envDoomed = "HARNESS_TEST_DOOMED"

// TestEtcdEndsWithAProcessThatIsKilled runs itself as that process.
func TestEtcdEndsWithAProcessThatIsKilled(t *testing.T) {
	if dir := os.Getenv(envDoomed); dir != "" {
		startEtcd(t, dir)
		select {} // until it is killed
	}
	doomed := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	doomed.Env = append(os.Environ(), envDoomed+"="+t.TempDir())
	doomed.Stderr = os.Stderr
	out, err := doomed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := doomed.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	address = strings.TrimSpace(address)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(address)
	if err != nil {
		t.Fatalf("etcd does not run: %v", err)
	}
	_ = response.Body.Close()
	if err := doomed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = doomed.Wait() // reports the kill
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(pollInterval) {
		response, err := http.Get(address)
		if err != nil {
			return
		}
		_ = response.Body.Close()
		if time.Now().After(deadline) {
			t.Fatalf("etcd still runs at %s", address)
		}
	}
}

// startEtcd starts etcd and prints where it reports whether it is well.
func startEtcd(t *testing.T, dir string) {
	t.Helper()
	assets, err := Assets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env := &envtest.Environment{}
	if err := EndWithThisProcess(env, assets, dir); err != nil {
		t.Fatal(err)
	}
	etcd := env.ControlPlane.Etcd
	etcd.DataDir = dir + "/data"
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Println(etcd.URL.JoinPath("health"))
}
