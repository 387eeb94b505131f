package main

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// recipe says which writes one unit of the floor consists of.
type recipe struct {
	Finalizer  int `json:"finalizer"`
	Credential int `json:"credential"`
	Token      int `json:"token"`
	Status     int `json:"status"`
	Events     int `json:"events"`
}

// floorFigures are those of the plain loop for one recipe.
type floorFigures struct {
	Recipe      recipe             `json:"recipe"`
	Writes      int                `json:"writes"`
	PerSecond   float64            `json:"perSecond"`
	Concurrency int                `json:"concurrency"`
	Tried       map[string]float64 `json:"tried"`
	CPU         cpuUse             `json:"cpu"`
}

// concurrencies of the plain loop; the best is taken.
var concurrencies = []int{4, 8, 16, 32}

// The fewest writes by which any operator could do the job: it keeps its credential and the token, and says so.
var (
	fewestProvision = recipe{Credential: 1, Token: 1, Status: 1}
	fewestRefresh   = recipe{Credential: 1, Token: 1, Status: 1}
)

// sameProvision and sameRefresh are the writes that the operator made, by its own count.
func sameProvision(t traffic) recipe {
	return recipe{
		Finalizer:  perUnit(t, "patch mcpconnections"),
		Credential: perUnit(t, "create credential secret", "update credential secret"),
		Token:      perUnit(t, "create token secret", "update token secret"),
		Status:     perUnit(t, kindStatus),
		Events:     perUnit(t, "create events", "patch events"),
	}
}

func sameRefresh(t traffic) recipe {
	return recipe{
		Credential: perUnit(t, "update credential secret"),
		Token:      perUnit(t, kindToken),
		Status:     perUnit(t, kindStatus),
		Events:     perUnit(t, "create events", "patch events"),
	}
}

func perUnit(t traffic, kinds ...string) int {
	sum := 0.0
	for _, kind := range kinds {
		sum += t.PerUnit[kind]
	}
	return int(math.Round(sum))
}

func (r recipe) writes() int { return r.Finalizer + r.Credential + r.Token + r.Status + r.Events }

// provisions runs the plain loop, once with the writes that the operator made for a connection, once with the fewest.
func (f *plainLoop) provisions(ctx context.Context, r *report) (err error) {
	harness.Stderr("floor: provision")
	if r.Floor.ProvisionSame, err = f.measure(ctx, sameProvision(r.Provision.Traffic), f.provision, true); err != nil {
		return err
	}
	r.Floor.ProvisionFewest, err = f.measure(ctx, fewestProvision, f.provision, true)
	return err
}

// refreshes does the same for refreshes.
func (f *plainLoop) refreshes(ctx context.Context, r *report) (err error) {
	harness.Stderr("floor: refresh")
	if r.Floor.RefreshSame, err = f.measure(ctx, sameRefresh(r.Refresh.Storm.Traffic), f.refresh, false); err != nil {
		return err
	}
	r.Floor.RefreshFewest, err = f.measure(ctx, fewestRefresh, f.refresh, false)
	return err
}

// measure finds the best concurrency on a few units, then does all of them with it. Units that create objects need
// numbers of their own.
func (f *plainLoop) measure(ctx context.Context, r recipe, unit func(context.Context, int, recipe) error,
	fresh bool) (floorFigures, error) {
	out := floorFigures{Recipe: r, Writes: r.writes(), Tried: map[string]float64{}}
	trial := min(f.n, max(100, f.n/5))
	best := 0.0
	for _, width := range concurrencies {
		rate, _, err := f.timed(ctx, r, trial, width, unit, fresh)
		if err != nil {
			return out, err
		}
		out.Tried[strconv.Itoa(width)] = rate
		if rate > best {
			best, out.Concurrency = rate, width
		}
	}
	var err error
	out.PerSecond, out.CPU, err = f.timed(ctx, r, f.n, out.Concurrency, unit, fresh)
	return out, err
}

func (f *plainLoop) timed(ctx context.Context, r recipe, n, width int, unit func(context.Context, int, recipe) error,
	fresh bool) (float64, cpuUse, error) {
	first := 0
	if fresh {
		first = f.grow(n)
	}
	before := usageOf(f.cluster.pids)
	err := parallel(ctx, n, width, func(ctx context.Context, i int) error { return unit(ctx, first+i, r) })
	after := usageOf(f.cluster.pids)
	return float64(n) / time.Since(before.at).Seconds(), after.since(before, n), err
}
