package main

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// clusterAddressesEvery is how often clusterAddresses are read: control planes are replaced rarely.
const clusterAddressesEvery = 5 * time.Minute

// clusterAddresses are where the API server listens, as the EndpointSlice of the Service kubernetes says: behind the
// Service, and maybe behind the name in a kubeconfig. A range that is allowed may hold them.
type clusterAddresses struct {
	client client.Reader // live
	log    logr.Logger

	known  atomic.Pointer[[]netip.AddrPort]
	failed bool
}

// get returns what was read last.
func (c *clusterAddresses) get() []netip.AddrPort { return ptr.Deref(c.known.Load(), nil) }

// Start reads them until ctx ends.
func (c *clusterAddresses) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, c.read, clusterAddressesEvery)
	return nil
}

// NeedLeaderElection is false: the callback server of every replica calls strangers.
func (c *clusterAddresses) NeedLeaderElection() bool { return false }

// read keeps what was known if nothing can be read, and says so once.
func (c *clusterAddresses) read(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	slice := &discoveryv1.EndpointSlice{} // of this name by the API server's own hand
	err := c.client.Get(limited, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}, slice)
	switch {
	case err == nil:
		c.failed = false
		c.known.Store(ptr.To(addressesOf(slice)))
	case !c.failed && ctx.Err() == nil:
		c.failed = true
		c.log.Info("the addresses of the API server cannot be read from the EndpointSlice kubernetes in the "+
			"namespace default: "+
			"of what --egress-allow-cidrs opens, only the ports 6443, 10250, 2379 and 2380 stay closed", "answer", err.Error())
	}
}

// addressesOf are all addresses at all ports.
func addressesOf(slice *discoveryv1.EndpointSlice) []netip.AddrPort {
	var out []netip.AddrPort
	for _, endpoint := range slice.Endpoints {
		for _, text := range endpoint.Addresses {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				continue // a host name (address type FQDN) is no address
			}
			for _, port := range slice.Ports {
				out = append(out, netip.AddrPortFrom(addr.Unmap(),
					uint16(ptr.Deref(port.Port, 0)))) //nolint:gosec // the API holds it to 1 to 65535
			}
		}
	}
	return out
}
