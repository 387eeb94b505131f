package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// leaseName is what the operator's replicas elect their leader by.
	leaseName = "mcp-connection-operator"
	// leaseDuration is the operator's default.
	leaseDuration = 15 * time.Second
	// clockWarning and clockFailure are differences that signed assertions, DPoP proofs and certificates do not take.
	clockWarning = 30 * time.Second
	clockFailure = 5 * time.Minute
)

// schemaFinding compares the fields that the cluster's CRD has with those that this program knows. Discovery may be
// read by everybody.
func schemaFinding(ctx context.Context, c kubernetes.Interface) Finding {
	f := Finding{Title: "CustomResourceDefinition"}
	versions, err := c.Discovery().ServerGroups()
	if err != nil {
		f.warn("The API groups could not be read: %s", oneLine(err.Error()))
		return f
	}
	served := ""
	for _, g := range versions.Groups {
		if g.Name == v1alpha1.GroupVersion.Group {
			served = g.PreferredVersion.Version
		}
	}
	if served != v1alpha1.GroupVersion.Version {
		f.fail("The cluster serves version %q of %s, not %s: install the operator's CRD.", served,
			v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version)
		return f
	}
	f.note("%s/%s is served.", v1alpha1.GroupVersion.Group, served)
	path := "/openapi/v3/apis/" + v1alpha1.GroupVersion.String()
	raw, err := c.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Raw()
	if err != nil {
		f.warn("Its schema could not be read: %s", oneLine(err.Error()))
		return f
	}
	fields, err := specFields(raw)
	if err != nil {
		f.warn("%s", sentence(err.Error()))
		return f
	}
	known := jsonFields(reflect.TypeFor[v1alpha1.MCPConnectionSpec]())
	if lacking := missing(known, fields); len(lacking) > 0 {
		f.warn("It is older than this program: spec has no %s.", strings.Join(lacking, ", "))
	}
	if more := missing(fields, known); len(more) > 0 {
		f.warn("It is newer than this program, which does not know spec.%s: use the plugin of the operator's release.",
			strings.Join(more, ", spec."))
	}
	if f.Level == OK {
		f.note("It has the %d fields of spec that this program knows, and no others.", len(known))
	}
	return f
}

// specFields are the names of the fields of spec in an OpenAPI v3 document.
func specFields(raw []byte) ([]string, error) {
	type schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var document struct {
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return nil, fmt.Errorf("read the schema of MCPConnection: %w", err)
	}
	for name, s := range document.Components.Schemas {
		var spec schema
		if strings.HasSuffix(name, ".MCPConnection") && json.Unmarshal(s.Properties["spec"], &spec) == nil {
			var fields []string
			for field := range spec.Properties {
				fields = append(fields, field)
			}
			slices.Sort(fields)
			return fields, nil
		}
	}
	return nil, fmt.Errorf("the API server describes no MCPConnection")
}

func jsonFields(t reflect.Type) []string {
	var fields []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
	}
	slices.Sort(fields)
	return fields
}

// missing are those of all that are not among some.
func missing(all, some []string) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(some, s) {
			out = append(out, s)
		}
	}
	return out
}

// statusFinding is what the operator itself says of the connection.
func statusFinding(conn *v1alpha1.MCPConnection) Finding {
	f := Finding{Title: "What the operator says"}
	ready := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		f.fail("Nothing yet: it has not looked at the connection.")
		return f
	}
	if conn.Status.ObservedGeneration != conn.Generation {
		f.warn("It has not looked at the newest spec yet.")
	}
	for _, kind := range []string{v1alpha1.ConditionDiscovered, v1alpha1.ConditionRegistered, v1alpha1.ConditionAuthorized,
		v1alpha1.ConditionProbed, v1alpha1.ConditionReady} {
		condition := meta.FindStatusCondition(conn.Status.Conditions, kind)
		if condition == nil {
			continue
		}
		text := fmt.Sprintf("%s=%s, %s", kind, condition.Status, condition.Reason)
		if condition.Status != metav1.ConditionTrue {
			text += ": " + withoutLink(conn, condition.Message)
		}
		f.note("%s", text)
	}
	if ready.Status != metav1.ConditionTrue {
		f.Level = Warning
	}
	if len(conn.Status.UnknownAnnotations) > 0 {
		f.warn("These annotations mean nothing: %s.", mcpoauth.Sanitize(strings.Join(conn.Status.UnknownAnnotations, ", "),
			maxShown))
	}
	return f
}

// withoutLink takes the link for consent out of a text: whoever opens it binds their own account.
func withoutLink(conn *v1alpha1.MCPConnection, text string) string {
	if link := conn.Status.AuthorizationURL; link != "" {
		text = strings.ReplaceAll(text, link, "(link)")
	}
	return mcpoauth.Sanitize(text, 1024)
}

// leaderFinding reads the Lease. now is the API server's time, as far as it is known.
func (o *Operator) leaderFinding(ctx context.Context, c kubernetes.Interface, now time.Time) Finding {
	f := Finding{Title: "Leader (Lease)"}
	if o.Deployment != nil && o.flag("leader-elect") != "true" {
		f.note("No election: the operator runs without --leader-elect.")
		if replicas(o.Deployment) > 1 {
			f.fail("It has %d replicas, which all act: give it --leader-elect.", replicas(o.Deployment))
		}
		return f
	}
	lease, err := c.CoordinationV1().Leases(o.namespace()).Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		f.skip("You may not read the Lease %s in namespace %s.", leaseName, o.namespace())
		return f
	case apierrors.IsNotFound(err) && o.Deployment == nil:
		f.skip("There is no Lease %s in namespace %s, where the operator may not be at all.", leaseName, o.namespace())
		return f
	case apierrors.IsNotFound(err):
		f.fail("There is no Lease %s in namespace %s: nobody leads, so nobody acts.", leaseName, o.namespace())
		return f
	case err != nil:
		f.warn("The Lease could not be read: %s", oneLine(err.Error()))
		return f
	}
	holder, renewed, lasts := "", time.Time{}, leaseDuration
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	if lease.Spec.RenewTime != nil {
		renewed = lease.Spec.RenewTime.Time
	}
	if lease.Spec.LeaseDurationSeconds != nil {
		lasts = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	switch age := now.Sub(renewed).Truncate(time.Second); {
	case holder == "":
		f.fail("The Lease %s has no holder: nobody leads, so nobody acts.", leaseName)
	case age > lasts+clockWarning:
		f.fail("%s renewed the Lease %s ago, and it lasts %s: nobody leads, so nobody acts.",
			mcpoauth.Sanitize(holder, maxShown), age, lasts)
	default:
		f.note("%s leads, and renews its Lease.", mcpoauth.Sanitize(holder, maxShown))
	}
	return f
}

// clockReading is what a server's Date said, and when it was received here.
type clockReading struct {
	whose string
	date  time.Time
	here  time.Time
}

func readClock(whose string, h http.Header, here time.Time) (clockReading, bool) {
	date, err := http.ParseTime(h.Get("Date"))
	return clockReading{whose, date, here}, err == nil
}

// ahead is by how much the server's clock is ahead; a Date is cut to seconds.
func (c clockReading) ahead() time.Duration {
	return c.date.Add(500 * time.Millisecond).Sub(c.here).Round(time.Second)
}

// clockFinding compares clocks with that of this machine.
func clockFinding(readings []clockReading) Finding {
	f := Finding{Title: "Clocks (Date of answers, beside this machine's)"}
	if len(readings) == 0 {
		f.skip("No answer had a Date.")
	}
	for _, r := range readings {
		difference := r.ahead()
		word := "ahead"
		if difference < 0 {
			difference, word = -difference, "behind"
		}
		text := fmt.Sprintf("%s: %s %s.", r.whose, difference, word)
		if difference < 2*time.Second {
			text = r.whose + ": the same."
		}
		switch {
		case difference > clockFailure:
			f.fail("%s Signed assertions and certificates will be refused: set the clock that is wrong.", text)
		case difference > clockWarning:
			f.warn("%s Signed assertions may be refused: set the clock that is wrong.", text)
		default:
			f.note("%s", text)
		}
	}
	return f
}
