package main

import (
	"strings"
	"time"
)

// report is everything that one run found out.
type report struct {
	N          int          `json:"connections"`
	Servers    int          `json:"servers"`
	Namespaces int          `json:"namespaces"`
	Machine    string       `json:"machine"`
	Started    time.Time    `json:"started"`
	Provision  phaseFigures `json:"provision"`
	// LostConsents are links that a person followed to the end in vain.
	LostConsents int                `json:"lostConsents"`
	Refresh      refreshFigures     `json:"refresh"`
	Rest         restFigures        `json:"rest"`
	Restart      restartFigures     `json:"restart"`
	Memory       memoryFigures      `json:"memory"`
	Outbound     map[string]float64 `json:"outboundRequestsPerConnection"`
	Floor        struct {
		ProvisionSame   floorFigures `json:"provisionSameWrites"`
		ProvisionFewest floorFigures `json:"provisionFewestWrites"`
		RefreshSame     floorFigures `json:"refreshSameWrites"`
		RefreshFewest   floorFigures `json:"refreshFewestWrites"`
	} `json:"floor"`
	Goals []goal `json:"goals"`
}

// phaseFigures are of one action on every connection.
type phaseFigures struct {
	PerSecond float64 `json:"perSecond"`
	Seconds   float64 `json:"seconds"`
	CPU       cpuUse  `json:"cpu"`
	Traffic   traffic `json:"traffic"`
	// LatenessMilliseconds is when the token request arrived, less when it was due by status.
	LatenessMilliseconds spread `json:"latenessMilliseconds"`
	// LastPublishedSeconds is when the last token Secret was written, less when its refresh was due.
	LastPublishedSeconds float64 `json:"lastPublishedSeconds"`
	// Expired are tokens that expired before their successor was published.
	Expired int `json:"expired"`
}

type refreshFigures struct {
	Rate   int          `json:"steadyRate"`
	Steady phaseFigures `json:"steady"`
	Storm  phaseFigures `json:"storm"`

	steadyFrom, stormAt time.Time
}

type restFigures struct {
	Seconds  float64        `json:"seconds"`
	Requests map[string]int `json:"requests"`
	CPU      cpuUse         `json:"cpuOfTheWholeTime"`
}

type restartFigures struct {
	ReadySeconds float64 `json:"readySeconds"`
	// BusySeconds is from the first request to the last answer.
	BusySeconds float64        `json:"busySeconds"`
	Requests    map[string]int `json:"requests"`
	// Secrets are tokens found in the operator's memory; -1 if that could not be looked at.
	Secrets int `json:"tokensInMemory"`
}

// memoryFigures are anonymous memory of the operator.
type memoryFigures struct {
	BaseMiB    float64 `json:"withoutConnectionsMiB"`
	RestMiB    float64 `json:"atRestMiB"`
	RestartMiB float64 `json:"afterRestartMiB"`
}

// perThousand is what 1,000 connections add to the base.
func (r *report) perThousand(mib float64) float64 {
	return (mib - r.Memory.BaseMiB) * 1000 / float64(r.N)
}

// outbound are the operator's own requests per connection until it is Ready.
func (r *report) outbound() float64 {
	sum := 0.0
	for name, count := range r.Outbound {
		if !strings.Contains(name, "browser") {
			sum += count
		}
	}
	return sum
}

// goal is a figure held against what it should be.
type goal struct {
	Name string  `json:"name"`
	Want string  `json:"want"`
	Got  float64 `json:"got"`
	Met  bool    `json:"met"`
}

func (r *report) atMost(name, want string, limit, got float64) {
	r.Goals = append(r.Goals, goal{Name: name, Want: "at most " + want, Got: got, Met: got <= limit})
}

func (r *report) atLeast(name, want string, limit, got float64) {
	r.Goals = append(r.Goals, goal{Name: name, Want: "at least " + want, Got: got, Met: got >= limit})
}

// judge holds the figures against the goals.
func (r *report) judge() {
	if r.Floor.ProvisionSame.PerSecond > 0 {
		r.atLeast("provision: rate, of the floor's with the same writes", "0.6", 0.6,
			r.Provision.PerSecond/r.Floor.ProvisionSame.PerSecond)
		r.atLeast("refresh: rate in the storm, of the floor's with the same writes", "0.8", 0.8,
			r.Refresh.Storm.PerSecond/r.Floor.RefreshSame.PerSecond)
	}
	steady, storm := &r.Refresh.Steady, &r.Refresh.Storm
	// A request that is made again after a conflict or a busy moment moves the average by little.
	const hair = 0.02
	r.atMost("provision: consents that were lost", "0", 0, float64(r.LostConsents))
	r.atMost("refresh: writes each, steady", "4", 4+hair, steady.Traffic.Writes)
	r.atMost("refresh: gets each, steady", "2", 2+hair, steady.Traffic.Gets)
	r.atMost("refresh: writes each, storm", "4", 4+hair, storm.Traffic.Writes)
	r.atMost("refresh: gets each, storm", "2", 2+hair, storm.Traffic.Gets)
	r.atMost("refresh: lists and Events", "0", 0, float64(steady.Traffic.Lists+steady.Traffic.Events+storm.Traffic.Lists+
		storm.Traffic.Events))
	r.atMost("conflicts, percent of the writes", "0.5", 0.5,
		max(r.Provision.Traffic.ConflictPercent, steady.Traffic.ConflictPercent, storm.Traffic.ConflictPercent))
	r.atMost("lateness at the steady rate, p99, ms", "250", 250, steady.LatenessMilliseconds.P99)
	r.atMost("storm: tokens that expired before they were replaced", "0", 0, float64(storm.Expired))
	r.atMost("rest: requests besides those for leases", "0", 0, float64(total(r.Rest.Requests, nil)))
	r.atMost("restart: lists of one type", "1", 1, float64(mostListed(r.Restart.Requests)))
	r.atMost("restart: Secrets read or found in memory", "0", 0,
		float64(total(r.Restart.Requests, []string{"get credential", "get token"})+max(0, r.Restart.Secrets)))
	r.atMost("restart: writes", "0", 0, float64(total(r.Restart.Requests,
		[]string{"create", "update", "patch", "delete"})))
	r.atMost("anonymous memory at rest, MiB for 1,000 connections", "12", 12, r.perThousand(r.Memory.RestMiB))
}

// total adds up requests whose kind begins with one of some words; all if there are none. Leases are of replicas and
// installations, not of connections.
func total(counts map[string]int, words []string) int {
	sum := 0
	for kind, count := range counts {
		wanted := len(words) == 0
		for _, word := range words {
			wanted = wanted || strings.HasPrefix(kind, word)
		}
		if wanted && !strings.HasSuffix(kind, " leases") {
			sum += count
		}
	}
	return sum
}

// mostListed is how often the type was listed that was listed most often.
func mostListed(counts map[string]int) int {
	by := map[string]int{}
	for kind, count := range counts {
		for _, verb := range []string{"list, then watch ", "list "} {
			if name, ok := strings.CutPrefix(kind, verb); ok && name != "leases" {
				by[name] += count
				break
			}
		}
	}
	most := 0
	for _, count := range by {
		most = max(most, count)
	}
	return most
}
