package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// DefaultNamespace is where the operator's manifests put it.
	DefaultNamespace = "mcp-connection-system"
	// operatorLabels are those of the operator's Deployment and pods in every way to install it.
	operatorLabels = "app.kubernetes.io/name=mcp-connection-operator"
)

// Operator is what can be seen of the operator that serves a namespace.
type Operator struct {
	// Deployment of the operator; nil if none can be seen.
	Deployment *appsv1.Deployment
	// Unseen says why there is none.
	Unseen string
	flags  map[string]string
	// others are further Deployments that call themselves the operator. Anybody who may make a Deployment can make one.
	others []string
	// named is the operator's namespace, if the person named it.
	named string
}

// FindOperator looks for the Deployment of the operator that serves a namespace: in the given namespace of the
// operator, else in all, else, where those may not be listed, in the default one. Of several it takes one that serves
// the namespace, and of these the one in the default namespace.
func FindOperator(ctx context.Context, c kubernetes.Interface, served, operatorNamespace string) *Operator {
	list, err := c.AppsV1().Deployments(operatorNamespace).List(ctx, metav1.ListOptions{LabelSelector: operatorLabels})
	if apierrors.IsForbidden(err) && operatorNamespace == "" {
		list, err = c.AppsV1().Deployments(DefaultNamespace).List(ctx, metav1.ListOptions{LabelSelector: operatorLabels})
	}
	switch {
	case apierrors.IsForbidden(err):
		return &Operator{named: operatorNamespace, Unseen: "You may not list Deployments there: whoever may can see more. " +
			"Name the operator's namespace with --operator-namespace if you may read that one."}
	case err != nil:
		return &Operator{named: operatorNamespace, Unseen: "The Deployments could not be listed: " + oneLine(err.Error())}
	case len(list.Items) == 0:
		return &Operator{named: operatorNamespace, Unseen: "There is no Deployment with the label " + operatorLabels + "."}
	}
	var found []*Operator
	for i := range list.Items {
		o := &Operator{Deployment: &list.Items[i], named: operatorNamespace}
		o.flags = flagsOf(o.container())
		found = append(found, o)
	}
	chosen := slices.MaxFunc(found, func(a, b *Operator) int { return a.rank(served) - b.rank(served) })
	for _, o := range found {
		if o != chosen {
			chosen.others = append(chosen.others, o.Deployment.Namespace+"/"+o.Deployment.Name)
		}
	}
	return chosen
}

// rank says how likely this is the operator that serves a namespace.
func (o *Operator) rank(served string) int {
	rank := 0
	if o.serves(served) {
		rank += 2
	}
	if o.Deployment.Namespace == DefaultNamespace {
		rank++
	}
	return rank
}

// doubtful reports whether nobody said which of several Deployments is the operator: then none of their flags decides
// what is called.
func (o *Operator) doubtful() bool { return len(o.others) > 0 && o.named == "" }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// container of the operator: the first one.
func (o *Operator) container() corev1.Container {
	if o.Deployment == nil || len(o.Deployment.Spec.Template.Spec.Containers) == 0 {
		return corev1.Container{}
	}
	return o.Deployment.Spec.Template.Spec.Containers[0]
}

// flagsOf reads --name=value, --name value and --name.
func flagsOf(c corev1.Container) map[string]string {
	flags := map[string]string{}
	args := slices.Concat(c.Command, c.Args)
	for i, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			continue
		}
		name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case has:
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			value = args[i+1]
		default:
			value = "true"
		}
		flags[name] = value
	}
	return flags
}

// flag is the value of a flag; empty if it is not given.
func (o *Operator) flag(name string) string { return o.flags[name] }

// namespace of the operator.
func (o *Operator) namespace() string {
	switch {
	case o.Deployment != nil:
		return o.Deployment.Namespace
	case o.named != "":
		return o.named
	}
	return DefaultNamespace
}

// account is the user name of the operator's ServiceAccount.
func (o *Operator) account() string {
	name := o.Deployment.Spec.Template.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	return "system:serviceaccount:" + o.Deployment.Namespace + ":" + name
}

func (o *Operator) serves(namespace string) bool {
	watched := strings.FieldsFunc(o.flag("watch-namespaces"), func(r rune) bool { return r == ',' || r == ' ' })
	return len(watched) == 0 || slices.Contains(watched, namespace)
}

// Version is the tag or digest of the operator's image.
func (o *Operator) Version() string {
	image := o.container().Image
	if _, digest, has := strings.Cut(image, "@"); has {
		return digest
	}
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		return image[at+1:]
	}
	return "unknown"
}

// Pods of the operator. The error is that of the API server.
func (o *Operator) Pods(ctx context.Context, c kubernetes.Interface) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(o.Deployment.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("read the selector of the operator's Deployment: %w", err)
	}
	pods, err := c.CoreV1().Pods(o.namespace()).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list the operator's pods: %w", err)
	}
	return pods.Items, nil
}

// Container is the name of the operator's container.
func (o *Operator) Container() string { return o.container().Name }

// finding is what the Deployment says.
func (o *Operator) finding(served string) Finding {
	f := Finding{Title: "Operator"}
	if o.Deployment == nil {
		f.skip("Not seen. %s", o.Unseen)
		return f
	}
	f.note("Deployment %s/%s, version %s, %d of %d replicas available.", o.Deployment.Namespace, o.Deployment.Name,
		o.Version(),
		o.Deployment.Status.AvailableReplicas, replicas(o.Deployment))
	if len(o.others) > 0 {
		f.warn("More Deployments have the label %s: %s. Any of them may be a stranger's.", operatorLabels,
			strings.Join(o.others, ", "))
	}
	if o.doubtful() {
		f.warn("So no flag of this one is used here: name the operator's namespace with --operator-namespace.")
	}
	if o.Deployment.Status.AvailableReplicas == 0 {
		f.fail("No replica is available: nobody acts on the connection. Look at `kubectl -n %s describe deployment %s`",
			o.Deployment.Namespace, o.Deployment.Name)
	}
	if !o.serves(served) {
		f.fail("It does not watch the namespace %s: its --watch-namespaces is %s.", served, o.flag("watch-namespaces"))
	}
	return f
}

func replicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// apply takes the operator's flags over where the rules leave them open.
func (o *Operator) apply(r *Rules) {
	if o.doubtful() {
		return
	}
	r.AllowInsecureHTTP = r.AllowInsecureHTTP || o.flag("allow-insecure-http") == "true"
	if r.ExternalURL == "" {
		r.ExternalURL = o.flag("external-url")
	}
	if len(r.AllowCIDRs) == 0 && len(r.AllowAddrs) == 0 {
		// What the operator cannot read, it does not start with.
		r.AllowCIDRs, r.AllowAddrs, _ = mcpoauth.ParseAllowed(o.flag("egress-allow-cidrs"))
	}
}
