package slots

import (
	"slices"
	"strings"
)

const (
	// maxSlots is how many reconciles may be asking one host, or asking for one namespace: a slow one starves no other.
	// Eight keep an API server on a few cores busy.
	maxSlots = 8
	// maxProbes is how many answers of MCP servers are decoded at once, whatever they hold: what that may cost in
	// memory is this many times the cost of one.
	maxProbes = 2
	// maxHostSlots is how many of a namespace's slots one host may hold.
	maxHostSlots = 6
)

// resource is what has a limit: a namespace, a host, a host within a namespace, or the workers (the zero value).
type resource struct{ namespace, host string }

// probing stands for the right to probe. No host has such a name.
var probing = resource{host: " probes"}

// usage is how many hold a resource, and how many of them for ordinary work.
type usage struct{ all, ordinary int }

// need is what is taken at once, all of it or nothing: a worker, and for requests of a namespace to a host their slots
// too. The others are hosts whose slots are held already, and are needed beside: in order, with a space between two.
type need struct {
	namespace, host, others string
	probe                   bool
}

func (n need) resources() []resource {
	all := []resource{{}}
	if n.host == "" {
		return all
	}
	all = append(all, resource{namespace: n.namespace})
	for _, host := range append(strings.Fields(n.others), n.host) {
		all = append(all, resource{host: host}, resource{n.namespace, host})
	}
	if n.probe {
		all = append(all, probing)
	}
	return all
}

// limit is how many may hold a resource; 0: any number.
func (s *Slots) limit(k resource) int {
	switch {
	case k == resource{}:
		return s.Workers
	case k == probing:
		return maxProbes
	case k.namespace != "" && k.host != "":
		return maxHostSlots
	}
	return maxSlots
}

// ordinaryLimit is how much of a limit ordinary work may hold: three quarters, and never nothing.
func ordinaryLimit(limit int) int { return max(1, limit*3/4) }

// room reports whether one more fits in; a holder only moves from urgent to ordinary work.
func (s *Slots) room(k resource, reserved, holder bool) bool {
	limit := s.limit(k)
	if limit == 0 {
		return true
	}
	u := s.used[k]
	if k == probing { // no part of it is reserved
		return holder || u.all < limit
	}
	return (holder || u.all < limit) && (reserved || u.ordinary < ordinaryLimit(limit))
}

// fits reports whether there is room for all of some resources.
func (s *Slots) fits(all []resource, reserved bool) bool {
	return !slices.ContainsFunc(all, func(k resource) bool { return !s.room(k, reserved, false) })
}
