package callback

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

// heldUpRefresh, in seconds, is when to look again whether a token that was held up is published.
const heldUpRefresh = 30

// heldUp is the condition that says why a token that is stored is not published; nil if none does.
func (v *visit) heldUp() *metav1.Condition {
	if ready := meta.FindStatusCondition(v.conditions, v1alpha1.ConditionReady); ready != nil &&
		reasons.Is(ready.Reason, reasons.HoldsPublication) {
		return ready
	}
	return nil
}

// publishing reports whether a consent succeeded a moment ago and status does not say yet what became of its token.
func (s *Server) publishing(v *visit, seen view) bool {
	return seen.state == viewSucceeded && s.o.Now().Sub(seen.outcome.At) < outcomeWait &&
		v.heldUp() == nil && meta.IsStatusConditionFalse(v.conditions, v1alpha1.ConditionAuthorized)
}

// published waits until status, which the reconciler writes after it has published, says what became of a token.
func (s *Server) published(ctx context.Context, v *visit, seen view) error {
	if !s.publishing(v, seen) {
		return nil
	}
	end := time.NewTimer(outcomeWait)
	defer end.Stop()
	poll := time.NewTicker(outcomePoll)
	defer poll.Stop()
	for s.publishing(v, seen) {
		select {
		case <-poll.C:
		case <-end.C:
			return nil
		case <-ctx.Done():
			return nil
		case <-s.stopping:
			return nil
		}
		if err := s.connection(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// successPage says what a consent led to: a token is stored, and workloads have it, or do not have it yet.
func (s *Server) successPage(p *page, v *visit, seen view) {
	name, cause := v.meta.name(), v.heldUp()
	switch {
	case cause != nil && cause.Reason == v1alpha1.ReasonUnsupportedTokenType:
		p.title, p.tone, p.text = name+" is not connected", "bad", sentence(cause.Reason)
	case cause != nil:
		p.title, p.tone, p.refresh = name+" is authorized", "busy", heldUpRefresh
		p.text = "The operator has stored the token and not yet published it for the workloads. You need not sign in " +
			"again: once whoever manages the connection has mended what the details say, the token is published by itself."
	case s.publishing(v, seen):
		p.title, p.tone, p.refresh = "Connecting "+name, "busy", pendingRefresh
		p.text = "The operator has stored the token and is publishing it for the workloads; this page updates by itself."
	default:
		p.title, p.tone = name+" is connected", "good"
		p.text = "The operator has stored the token for its workloads. You can close this window."
	}
	if cause != nil {
		p.detail = mcpoauth.Sanitize(cause.Message, maxMessage)
	}
}
