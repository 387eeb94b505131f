package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// answering is an API server that gives this answer to a Secret, and knows the kind or not.
func answering(answer error, installed bool) client.Client {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	if installed {
		mapper.Add(v1alpha1.GroupVersion.WithKind("MCPConnection"), meta.RESTScopeNamespace)
	}
	return fake.NewClientBuilder().WithScheme(newScheme()).WithRESTMapper(mapper).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			options := (&client.CreateOptions{}).ApplyOptions(opts)
			if len(options.DryRun) != 1 || obj.GetNamespace() != "here" || obj.GetGenerateName() == "" {
				return errors.New("this would leave something behind")
			}
			return answer
		},
	}).Build()
}

func TestWhatIsMissingAtTheStartIsOneClearLine(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	for name, test := range map[string]struct {
		answer    error
		missing   bool // the CustomResourceDefinition
		want, log string
		usage     bool
	}{
		"all is there": {},
		"the namespace is missing": {answer: apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "here"),
			want: "there is no namespace here for the credential Secrets: kubectl create namespace here", usage: true},
		"something else is not found": {answer: apierrors.NewNotFound(secrets, "x"), log: "refuses to store"},
		"a right is missing":          {answer: apierrors.NewForbidden(secrets, "x", errors.New("no role")), log: "no role"},
		"a policy refuses": {answer: apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "x", nil),
			log: "refuses to store"},
		"the API server is overloaded": {answer: apierrors.NewTooManyRequests("later", 1), log: "later"},
		"the kind is missing": {missing: true, want: "the CustomResourceDefinition " +
			"mcpconnections.mcp-connection.dev of version v1alpha1 is not installed: kubectl apply --server-side -k config/crd"},
		"no API server answers": {answer: errors.New("dial tcp: connection refused"),
			want: "the API server https://api:6443 cannot be reached: dial tcp: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			var logged strings.Builder
			log := funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{})
			err := checkCluster(t.Context(), answering(test.answer, !test.missing), "https://api:6443", "here", log)
			var usage usageError
			if (err == nil) != (test.want == "") || (err != nil && !strings.HasSuffix(err.Error(), test.want)) ||
				errors.As(err, &usage) != test.usage {
				t.Errorf("it says %v (a usage error: %t), want %q", err, errors.As(err, &usage), test.want)
			}
			if !strings.Contains(logged.String(), test.log) || (test.log == "" && logged.Len() > 0) {
				t.Errorf("it logs %q, want %q", logged.String(), test.log)
			}
		})
	}
}

func TestAnAPIServerThatDoesNotListenCannotBeReached(t *testing.T) {
	o := &options{operatorNamespace: "here"}
	err := o.checkCluster(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"},
		funcr.New(func(_, _ string) {}, funcr.Options{}))
	var usage usageError
	if err == nil || errors.As(err, &usage) || !strings.HasPrefix(err.Error(),
		"the API server https://127.0.0.1:1 cannot be reached: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("it says %v", err)
	}
}

func TestTheCheckOfTheStartIsNoObjectThatTheOperatorWouldFind(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(newScheme()).Build()
	_ = checkCluster(t.Context(), c, "", "here", funcr.New(func(_, _ string) {}, funcr.Options{}))
	var found metav1.PartialObjectMetadataList
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.List(t.Context(), &found); err != nil || len(found.Items) > 0 {
		t.Errorf("%v, %d are left", err, len(found.Items))
	}
}
