package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestTheAPIServersAddressesAreRead(t *testing.T) {
	var answer error
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.7"}},
			{Addresses: []string{"::ffff:10.0.0.8", "not.an.address"}}},
		Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](8443)}, {Port: ptr.To[int32](8444)}},
	}
	reader := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(slice).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object,
			opts ...client.GetOption) error {
			if answer != nil {
				return answer
			}
			return c.Get(ctx, key, obj, opts...)
		},
	}).Build()
	var logged []string
	addresses := &clusterAddresses{client: reader, log: funcr.New(func(_, args string) { logged = append(logged, args) },
		funcr.Options{})}
	want := []netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.7:8443"), netip.MustParseAddrPort("10.0.0.7:8444"),
		netip.MustParseAddrPort("10.0.0.8:8443"), netip.MustParseAddrPort("10.0.0.8:8444"),
	}
	if addresses.get() != nil {
		t.Error("something is known before it was read")
	}
	addresses.read(t.Context())
	answer = apierrors.NewForbidden(schema.GroupResource{Resource: "endpointslices"}, "kubernetes", errors.New("no role"))
	for range 3 {
		addresses.read(t.Context())
	}
	if got := addresses.get(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(logged) != 1 || !strings.Contains(logged[0], "no role") ||
		!strings.Contains(logged[0], "6443, 10250, 2379 and 2380") {
		t.Errorf("the log is %q, want one line", logged)
	}
}
