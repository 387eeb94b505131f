package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// with is an API server that holds so many connections in each namespace.
func with(counts map[string]int) *fake.ClientBuilder {
	b := fake.NewClientBuilder().WithScheme(newScheme())
	for namespace, n := range counts {
		for i := range n {
			b.WithObjects(&v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace,
				Name: fmt.Sprintf("c%d", i)}})
		}
	}
	return b
}

func TestAnUninstallIsHeldUpByConnectionsThatAreLeft(t *testing.T) {
	const remove = "kubectl delete mcpconnections.mcp-connection.dev --all "
	for name, test := range map[string]struct {
		left       map[string]int
		namespaces []string
		release    string
		want       []string // parts of the line; none: nothing is left
	}{
		"nothing is left": {},
		"connections of all namespaces count": {
			left: map[string]int{"a": 2, "b": 1}, release: "mine",
			want: []string{"(3)", "(" + remove + "--all-namespaces)", "in the namespace ours: helm uninstall mine --namespace " +
				"ours --no-hooks"},
		},
		"only namespaces that are served count": {left: map[string]int{"a": 2}, namespaces: []string{"b", "c"}},
		"each served namespace has its command": {
			left: map[string]int{"a": 1, "b": 4, "d": 9}, namespaces: []string{"a", "b", "c"}, release: "mine",
			want: []string{"(5)", "(" + remove + "--namespace a && " + remove + "--namespace b)", "--no-hooks"},
		},
		"without Helm there is no command for it": {left: map[string]int{"a": 1},
			want: []string{"(1)", "--all-namespaces", ": skip this check"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envHelmRelease, test.release)
			err := checkUninstall(t.Context(), with(test.left).Build(), test.namespaces, "ours")
			if (err == nil) != (test.want == nil) {
				t.Fatalf("it says %v", err)
			}
			for _, part := range test.want {
				if text := err.Error(); !strings.Contains(text, part) || strings.Contains(text, "\n") {
					t.Errorf("it says %q, want %q", text, part)
				}
			}
			if n := len(test.want); n > 0 && !strings.HasSuffix(err.Error(), test.want[n-1]) {
				t.Errorf("%q does not end with %q", err, test.want[n-1])
			}
		})
	}
}

// answeringLists answers each list in turn.
func answeringLists(answers ...func(*metav1.PartialObjectMetadataList) error) client.Reader {
	return with(nil).WithInterceptorFuncs(interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			options := (&client.ListOptions{}).ApplyOptions(opts)
			if page := fmt.Sprint(4 - len(answers)); options.Limit != leftPage ||
				(options.Continue != "" && options.Continue != page) {
				return fmt.Errorf("page %q is asked for, not %q", options.Continue, page)
			}
			answer := answers[0]
			answers = answers[1:]
			return answer(list.(*metav1.PartialObjectMetadataList))
		},
	}).Build()
}

func TestConnectionsAreCountedOverPages(t *testing.T) {
	page := func(n int, next string) func(*metav1.PartialObjectMetadataList) error {
		return func(l *metav1.PartialObjectMetadataList) error {
			l.Items, l.Continue = make([]metav1.PartialObjectMetadata, n), next
			return nil
		}
	}
	refused := errors.New("no role")
	for name, test := range map[string]struct {
		answers []func(*metav1.PartialObjectMetadataList) error
		want    int
		err     error
	}{
		"four pages": {answers: []func(*metav1.PartialObjectMetadataList) error{page(500, "1"), page(500, "2"),
			page(500, "3"), page(7, "")}, want: 1507},
		"no CustomResourceDefinition means no connection": {answers: []func(*metav1.PartialObjectMetadataList) error{
			func(*metav1.PartialObjectMetadataList) error { return &meta.NoKindMatchError{} },
		}},
		"a refusal is no zero": {answers: []func(*metav1.PartialObjectMetadataList) error{
			func(*metav1.PartialObjectMetadataList) error { return refused }}, err: refused},
	} {
		got, err := countConnections(t.Context(), answeringLists(test.answers...), "")
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}
