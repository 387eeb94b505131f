package controller

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// Annotations that the old decision read.
const (
	annotationOffer      = v1alpha1.Prefix + "authorization-offer"
	annotationOfferUntil = v1alpha1.Prefix + "authorization-offer-until"
	annotationConsentAt  = v1alpha1.Prefix + "consent-at"
	annotationProbedAt   = v1alpha1.Prefix + "probed-at"
	annotationUnused     = v1alpha1.Prefix + "unused-registrations"
	annotationWithdrawn  = v1alpha1.Prefix + "withdrawn-grants"
)

// restingUntil is the pure part of idle: held and token are the metadata of the credential and the token Secret.
func restingUntil(now time.Time, conn *v1alpha1.MCPConnection, held, token *metav1.PartialObjectMetadata, externalURL string) (ctrl.Result, bool) {
	status := &conn.Status
	switch {
	case !conn.DeletionTimestamp.IsZero(), status.ObservedGeneration != conn.Generation,
		!slices.Contains(conn.Finalizers, v1alpha1.Finalizer), requested(conn),
		held.Annotations[credential.AnnotationRevision] != held.Annotations[credential.AnnotationHandled],
		status.Token != nil && token.ResourceVersion != status.Token.SecretResourceVersion,
		!linkCurrent(status, externalURL), !linkShown(conn, held),
		meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady) == nil,
		!slices.Equal(unknownAnnotations(conn), status.UnknownAnnotations):
		return ctrl.Result{}, false
	}
	if !settledStatus(conn) || clockSetBack(now, conn) || mayAwaitMending(conn) {
		return ctrl.Result{}, false
	}
	times, ok := statusTimes(conn, held)
	if !ok {
		return ctrl.Result{}, false
	}
	for _, t := range times {
		if !t.After(now) {
			return ctrl.Result{}, false
		}
	}
	var all []task
	for _, at := range times {
		all = append(all, task{at: at})
	}
	return wakeFor(now, all), true
}

// clockSetBack says whether the clock was set back since status was written.
func clockSetBack(now time.Time, conn *v1alpha1.MCPConnection) bool {
	if t := conn.Status.Token; t != nil && t.IssuedAt != nil && setBack(now, t.IssuedAt.Time) {
		return true
	}
	return slices.ContainsFunc(failuresOf(conn), func(f v1alpha1.Failure) bool { return setBack(now, attemptOf(&f)) })
}

// beyondStatus are reasons of states in which status does not tell when something is due.
var beyondStatus = []string{v1alpha1.ReasonCredentialUnreadable, v1alpha1.ReasonUnsupportedTokenType, v1alpha1.ReasonProgressing}

// settledStatus says whether the last reconcile did all it could, as far as status tells: what is not as it should be
// has a link, or a failure with its own time.
func settledStatus(conn *v1alpha1.MCPConnection) bool {
	conditions := conn.Status.Conditions
	authorized := meta.FindStatusCondition(conditions, v1alpha1.ConditionAuthorized)
	if authorized != nil && slices.Contains(beyondStatus, authorized.Reason) {
		return false
	}
	if awaitsProbe(conn) && !ptr.Deref(conn.Spec.Suspend, false) {
		return false
	}
	well := (meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) || refusedByServer(conn)) && (authorized == nil || authorized.Status == metav1.ConditionTrue)
	return well || conn.Status.AuthorizationURL != "" || failsOnItsWay(conn.Status.Failure) || ptr.Deref(conn.Spec.Suspend, false)
}

// awaitsProbe says whether a published token has not been tried, or nothing was done about what came of that.
func awaitsProbe(conn *v1alpha1.MCPConnection) bool {
	probed := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionProbed)
	return (probed != nil && probed.Reason == v1alpha1.ReasonNotProbed) || (refusedByServer(conn) && !failuresOf(conn).has(stepProbe))
}

// refusedByServer says whether status tells that the server refuses a token that has not expired.
func refusedByServer(conn *v1alpha1.MCPConnection) bool {
	ready := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonProbeUnauthorized
}

// beside are steps whose failure stands in the way of no token.
var beside = []step{stepWithdrawToken, stepNotePolicy, stepTakeChallenge, stepForgetChallenge, stepEndAuthorization, stepUpdateRegistration, stepUnregister, stepProbe}

// failsOnItsWay says whether the most important failure is of a step towards a token.
func failsOnItsWay(f *v1alpha1.Failure) bool {
	return f != nil && !slices.Contains(beside, step(f.Step))
}

// linkShown says whether status shows the open link, and none if there is none: a process may have died between
// the two writes.
func linkShown(conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) bool {
	link := conn.Status.AuthorizationURL
	if ptr.Deref(conn.Spec.Suspend, false) {
		return link == ""
	}
	shown := ""
	if link != "" {
		shown = credential.Hash(ticketOf(link))
	}
	return shown == held.Annotations[annotationOffer]
}

func ticketOf(link string) string { return link[strings.LastIndexByte(link, '/')+1:] }

// linkCurrent says whether the link in status fits the external URL that this process was started with.
func linkCurrent(status *v1alpha1.MCPConnectionStatus, externalURL string) bool {
	if link := status.AuthorizationURL; link != "" {
		return link == credential.ConnectURL(externalURL, ticketOf(link))
	}
	authorized := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAuthorized)
	return authorized == nil || authorized.Reason != v1alpha1.ReasonConsentUnavailable || externalURL == ""
}

// statusTimes are the instants at which something is due according to status; false if status cannot tell.
func statusTimes(conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) ([]time.Time, bool) {
	suspended := ptr.Deref(conn.Spec.Suspend, false)
	failed := failuresOf(conn)
	times := tokenTimes(conn, suspended, failed)
	if held.Annotations[annotationWithdrawn] != "" && !failed.has(stepRevoke) {
		return nil, false // no slot was free
	}
	if suspended {
		return append(times, failed.whileSuspended().retries2()...), true
	}
	if conn.Status.Failure != nil && len(failed) != 1+len(conn.Status.OtherFailures) {
		return nil, false // an annotation went, and a step is to start over
	}
	if failed.has(stepPublish) || failed.has(stepObserve) {
		return nil, false // while there is no token Secret, or nothing could be read, status tells nothing of the grant
	}
	if c := conn.Status.Client; c != nil && c.UpdateAt != nil && !failed.has(stepUpdateRegistration) {
		times = append(times, c.UpdateAt.Time)
	}
	if held.Annotations[annotationUnused] != "" && !failed.has(stepUnregister) {
		return nil, false // no slot was free
	}
	times = append(append(times, failed.retries2()...), probeTimes(conn, held, failed)...)
	noted, ok := notedTimes(conn, held)
	return append(times, noted...), ok
}

// notedTimes are the instants that are noted with the credential; false if one cannot be read.
func notedTimes(conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) (times []time.Time, ok bool) {
	noted := []string{held.Annotations[annotationOfferUntil]}
	if conn.Status.AuthorizationURL == "" { // else it has come
		noted = append(noted, held.Annotations[annotationConsentAt])
	}
	for _, instant := range noted {
		if instant == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, instant)
		if err != nil {
			return nil, false
		}
		times = append(times, at)
	}
	return times, true
}

// probeTimes are the instants at which the interval between two probes ends.
func probeTimes(conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata, failed failures) []time.Time {
	interval := probeInterval(&conn.Spec)
	last, err := time.Parse(time.RFC3339, held.Annotations[annotationProbedAt])
	if interval == 0 || err != nil || failed.has(stepProbe) || !meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) {
		return nil
	}
	return []time.Time{last.Add(interval)}
}

// tokenTimes are the instants at which something is due for the published token.
func tokenTimes(conn *v1alpha1.MCPConnection, suspended bool, failed failures) []time.Time {
	status, t := &conn.Status, conn.Status.Token
	if t == nil {
		return nil
	}
	var times []time.Time
	ready := meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) || refusedByServer(conn)
	if ready && t.ExpiresAt != nil {
		times = append(times, t.ExpiresAt.Time)
	}
	switch {
	case suspended:
	case t.RefreshAt != nil:
		if !failed.has(stepRefresh) && !failed.has(stepRequestToken) {
			times = append(times, RefreshMoment(conn.UID, t.RefreshAt.Time))
		}
	case failed.has(stepDiscover), failed.has(stepRegister), failed.has(stepStartAuthorization): // the time of the link has come
	case t.ExpiresAt != nil && t.IssuedAt != nil && ready && status.AuthorizationURL == "":
		times = append(times, linkTime(&credential.Grant{IssuedAt: t.IssuedAt.Time, ExpiresAt: t.ExpiresAt.Time}))
	}
	return times
}

// mayAwaitMending is awaitsMending, as far as status can tell.
func mayAwaitMending(conn *v1alpha1.MCPConnection) bool {
	if ptr.Deref(conn.Spec.Suspend, false) {
		return false
	}
	if slices.ContainsFunc(failuresOf(conn), func(f v1alpha1.Failure) bool { return refusedInputs(f) != "" }) {
		return true
	}
	authorized := findCondition(conn.Status.Conditions, v1alpha1.ConditionAuthorized)
	return conn.Spec.ImportSecretRef != nil && (authorized == nil || authorized.Status != metav1.ConditionTrue)
}

func (f failures) retries2() (times []time.Time) {
	for _, t := range f.retries() {
		times = append(times, t.at)
	}
	return times
}

// metadataOf is what a cache knows of the two Secrets of o.
func metadataOf(o *observed) (held, token *metav1.PartialObjectMetadata) {
	held, token = secretMetadata(), secretMetadata()
	if o.secret != nil {
		token.ObjectMeta = *o.secret.ObjectMeta.DeepCopy()
	}
	if c := o.credential(); c != nil {
		held.Annotations = map[string]string{
			credential.AnnotationRevision: strconv.FormatInt(c.Authorization.Revision, 10),
			credential.AnnotationHandled:  strconv.FormatInt(c.Authorization.Handled, 10),
		}
		var first time.Time
		for i := range c.Grants {
			if at := c.Grants[i].ConsentAt(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if !first.IsZero() {
			held.Annotations[annotationConsentAt] = first.UTC().Format(time.RFC3339)
		}
		if !c.ProbedAt.IsZero() {
			held.Annotations[annotationProbedAt] = c.ProbedAt.UTC().Format(time.RFC3339)
		}
		for i := range c.Grants {
			if c.Grants[i].Revoke != "" {
				held.Annotations[annotationWithdrawn] = "some"
			}
		}
		if n := len(c.Unused()); n > 0 {
			held.Annotations[annotationUnused] = strconv.Itoa(n)
		}
		if offer := c.Authorization.Offer; offer != nil {
			held.Annotations[annotationOffer] = credential.Hash(offer.Ticket)
			held.Annotations[annotationOfferUntil] = offer.ExpiresAt.UTC().Format(time.RFC3339)
		}
	}
	return held, token
}

// TestTheStoredPlanAgreesWithWhatUsedToBeDerived compares the stored plan with the decision that it replaced.
func TestTheStoredPlanAgreesWithWhatUsedToBeDerived(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	differences := map[string]int{}
	for range number("ORACLE_STATES", 20_000) {
		bytes := make([]byte, 40)
		for i := range bytes {
			bytes[i] = byte(random.UintN(256))
		}
		now, o := arbitrary(bytes)
		if o.conn == nil {
			continue
		}
		held, token := metadataOf(o)
		told := *o
		told.conn = reported(now, o)
		was, idle := restingUntil(now, told.conn, held, token, o.externalURL)
		rest, rests := resting(now, &told)
		kind := "both look"
		switch {
		case idle && rests && was.RequeueAfter == rest:
			kind = "both rest for the same time"
		case idle && rests && was.RequeueAfter < rest && was.RequeueAfter > 0:
			kind = "both rest, the plan for longer: " + told.conn.Status.Next.Step
			if len(restIsSafe(now, o)) > 0 {
				t.Errorf("%s: %v", kind, restIsSafe(now, o))
			}
		case idle && rests:
			kind = "both rest, the plan for less: " + told.conn.Status.Next.Step
		case idle && told.conn.Status.Next == nil:
			kind = "only the old rests: nothing comes by itself"
		case idle && !told.conn.Status.Next.At.After(now):
			kind = "only the old rests: it is to " + told.conn.Status.Next.Step
		case idle && told.conn.Status.Next.At.Sub(told.conn.Status.Next.ComputedAt.Time) > maxRest:
			kind = "only the old rests: the plan is for after a day"
		case idle:
			kind = "only the old rests: other"
		case rests:
			kind = "only the plan rests: " + whyNot(now, told.conn, held, token, o.externalURL)
			if len(restIsSafe(now, o)) > 0 {
				t.Errorf("%s: %v\n%+v\n%+v %s %v", kind, restIsSafe(now, o), told.conn.Status.Conditions, o.failures, now, o.unusable)
			}
		}
		differences[kind]++
	}
	for _, kind := range slices.Sorted(maps.Keys(differences)) {
		t.Logf("%8d %s", differences[kind], kind)
	}
}

// whyNot is why the old decision did not rest.
func whyNot(now time.Time, conn *v1alpha1.MCPConnection, held, token *metav1.PartialObjectMetadata, externalURL string) string {
	status := &conn.Status
	switch {
	case requested(conn):
		return "a request is not handled"
	case held.Annotations[credential.AnnotationRevision] != held.Annotations[credential.AnnotationHandled]:
		return "a response is recorded"
	case !linkCurrent(status, externalURL), !linkShown(conn, held):
		return "the link is not the one that is shown"
	case status.Token != nil && token.ResourceVersion != status.Token.SecretResourceVersion:
		return "the token Secret is another"
	case !settledStatus(conn):
		return "status does not tell"
	case clockSetBack(now, conn):
		return "the clock was set back"
	case mayAwaitMending(conn):
		return "a Secret may be mended"
	}
	if _, ok := statusTimes(conn, held); !ok {
		return "the times cannot be told"
	}
	return "a time has come"
}
