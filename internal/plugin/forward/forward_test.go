package forward

import (
	"errors"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

func TestATimeoutWhileThePortIsSetUpIsOne(t *testing.T) {
	ctx, cancel := kube.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	f := &Forwarder{Config: &rest.Config{}, Client: fake.NewClientBuilder().WithScheme(kube.Scheme()).Build(),
		Clock: clock.RealClock{}, Say: func(string) {}}
	if err := f.Start(ctx, &url.URL{Scheme: "http", Host: "127.0.0.1:0"}); kube.ExitCode(err) != kube.ExitTimedOut {
		t.Error(err)
	}
}

func TestAnAddressThatIsNotOfThisMachineIsNotTaken(t *testing.T) {
	err := free("192.0.2.1", 8082) // of documentation (RFC 5737)
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || strings.Contains(err.Error(), "taken") {
		t.Error(err)
	}
}
