package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestARefreshTokenIsKeptAliveThoughTheNextTokenCannotBePublished(t *testing.T) {
	o := given(granted(), published, granted(func(g *credential.Grant) {
		g.AccessToken, g.IssuedAt, g.RefreshAt = "another", epoch, epoch.Add(time.Minute)
	}),
		failing(StepPublish, v1alpha1.ReasonSecretWriteFailing, 2*time.Hour))
	testDecisions(t, map[string]decision{"without keepAlive it waits": {at: 10 * time.Minute, o: o, want: StepNone}})
	alive := *o
	alive.Conn = o.Conn.DeepCopy()
	specified(func(s *v1alpha1.MCPConnectionSpec) {
		s.Refresh = &v1alpha1.RefreshSpec{KeepAlive: &metav1.Duration{Duration: 5 * time.Minute}}
	})(&alive)
	alive.Failures = nil
	failing(StepPublish, v1alpha1.ReasonSecretWriteFailing, 2*time.Hour)(&alive)
	testDecisions(t, map[string]decision{
		"with keepAlive it waits for that": {at: 5*time.Minute - time.Second, o: &alive, want: StepNone},
		"and no longer":                    {at: 5 * time.Minute, o: &alive, want: StepRefresh},
	})
	dying := *o
	dying.Held = &credential.Held{Credential: &credential.Credential{}}
	granted(func(g *credential.Grant) {
		g.AccessToken, g.RefreshAt, g.EndsAt = "another", epoch.Add(time.Minute), epoch.Add(30*time.Minute)
	})(&dying)
	testDecisions(t, map[string]decision{
		"a refresh token that dies waits for two thirds of its life": {at: 19 * time.Minute, o: &dying, want: StepNone},
		"and not until it is dead":                                   {at: 20 * time.Minute, o: &dying, want: StepRefresh},
	})
}
