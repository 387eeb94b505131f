package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Operator is the operator's binary, run as a child process under its ServiceAccount.
type Operator struct {
	// ExternalURL is where browsers reach its pages.
	ExternalURL string
	// LogFile collects the output of all its runs.
	LogFile string

	binary  string
	health  string
	args    []string
	process *Process
	log     *os.File
}

// StartOperator builds cmd, and starts it against the control plane on free ports of the loopback interface.
// extra flags come last and win over the defaults.
func StartOperator(ctx context.Context, c *ControlPlane, extra ...string) (*Operator, error) {
	o := &Operator{binary: filepath.Join(c.Dir, "operator"), LogFile: filepath.Join(c.Dir, "operator.log")}
	c.logf("building the operator")
	if err := Build(ctx, o.binary, "cmd"); err != nil {
		return nil, err
	}
	kubeconfig, err := c.OperatorKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	o.ExternalURL, o.health = "http://"+addresses[0], addresses[1]
	o.args = append(OperatorFlags(kubeconfig, o.ExternalURL, addresses[0], o.health), extra...)
	c.logf("starting the operator as ServiceAccount %s", OperatorServiceAccount)
	return o, o.Start(ctx)
}

// OperatorFlags are those of one operator on the loopback interface, without metrics and without an election.
// Flags that come after them win.
func OperatorFlags(kubeconfig, externalURL, callback, health string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--operator-namespace=" + OperatorNamespace,
		"--external-url=" + externalURL,
		"--callback-bind-address=" + callback,
		"--health-probe-bind-address=" + health,
		"--metrics-bind-address=0",
		"--allow-insecure-http",
		"--egress-allow-cidrs=127.0.0.0/8,::1/128",
		"--leader-elect=false",
	}
}

// UnaskedFlags are those of an operator that nobody asks for anything: any number of them run on one machine.
func UnaskedFlags() []string {
	return []string{"--callback-bind-address=127.0.0.1:0", "--health-probe-bind-address=0", "--metrics-bind-address=0"}
}

// Start runs the operator and waits until it says that it is ready.
func (o *Operator) Start(ctx context.Context) (err error) {
	if o.log, err = os.OpenFile(o.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if o.process, err = StartProcess(o.log, "", nil, o.binary, o.args...); err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			select {
			case <-o.process.Exited():
				return false, fmt.Errorf("it ended: %w", o.exit())
			default:
			}
			return IsReady(ctx, o.health), nil
		})
	if err != nil {
		o.Kill()
		return fmt.Errorf("the operator did not become ready: %w\n%s", err, o.LogTail(20))
	}
	return nil
}

// IsReady reports whether an operator's readiness probe, at its --health-probe-bind-address, is answered with 200.
func IsReady(ctx context.Context, health string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+health+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode == http.StatusOK
}

// Stop ends the operator as Kubernetes would (SIGTERM), and reports an unclean exit.
func (o *Operator) Stop() error {
	if o.process == nil {
		return nil
	}
	defer o.forget()
	select {
	case <-o.process.Exited():
		return fmt.Errorf("the operator had ended by itself: %w", o.exit())
	default:
	}
	if err := o.process.Stop(30 * time.Second); err != nil {
		return fmt.Errorf("the operator did not end cleanly: %w", err)
	}
	return nil
}

// Kill ends the operator as kill -9 would.
func (o *Operator) Kill() {
	if o.process == nil {
		return
	}
	o.process.Kill()
	o.forget()
}

// PID is the process id while it runs.
func (o *Operator) PID() int { return o.process.PID() }

// exit says how a process ended that should not have.
func (o *Operator) exit() error {
	if err := o.process.Err(); err != nil {
		return err
	}
	return errors.New("exit code 0")
}

func (o *Operator) forget() {
	o.process = nil
	_ = o.log.Close()
}

// Restart stops the operator and starts it again with the same flags.
func (o *Operator) Restart(ctx context.Context) error {
	if err := o.Stop(); err != nil {
		return err
	}
	return o.Start(ctx)
}

// Log is everything that the operator has printed in all its runs.
func (o *Operator) Log() string {
	text, err := os.ReadFile(o.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogTail is the last lines of Log.
func (o *Operator) LogTail(lines int) string {
	all := strings.Split(strings.TrimSpace(o.Log()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Leaks names those of the secret values that occur in the operator's log. The map goes from a name, which
// is safe to print, to a value; values too short to be secret are left out.
func (o *Operator) Leaks(secrets map[string]string) []string {
	text := []byte(o.Log())
	var found []string
	for name, value := range secrets {
		if len(value) >= 8 && bytes.Contains(text, []byte(value)) {
			found = append(found, name)
		}
	}
	return found
}

// FreeAddress is a host and port of the loopback interface that nothing listens on.
func FreeAddress() (string, error) {
	one, err := FreeAddresses(1)
	return strings.Join(one, ""), err
}

// FreeAddresses are different ones.
func FreeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
