package main

import (
	"os"
	"runtime"
	"time"
)

// Names of the processes whose CPU time is taken.
const (
	processOperator  = "operator"
	processAPIServer = "kube-apiserver"
	processEtcd      = "etcd"
	processBench     = "bench"
)

// usage is CPU time by process, and of the whole machine, at one instant.
type usage struct {
	at      time.Time
	machine time.Duration
	by      map[string]time.Duration
}

func usageOf(pids map[string]int) usage {
	u := usage{at: time.Now(), machine: machineBusy(), by: map[string]time.Duration{processBench: cpuTime(os.Getpid())}}
	for name, pid := range pids {
		u.by[name] = cpuTime(pid)
	}
	return u
}

// cpuUse is CPU time between two instants.
type cpuUse struct {
	// MillisecondsPerUnit by process: per connection or per refresh.
	MillisecondsPerUnit map[string]float64 `json:"millisecondsPerUnit"`
	// OthersPercent is the share of the machine that processes outside the bench took meanwhile.
	OthersPercent float64 `json:"othersPercent"`
}

func (u usage) since(before usage, units int) cpuUse {
	use := cpuUse{MillisecondsPerUnit: map[string]float64{}}
	own := time.Duration(0)
	for name, total := range u.by {
		spent := total - before.by[name]
		own += spent
		use.MillisecondsPerUnit[name] = spent.Seconds() * 1000 / float64(units)
	}
	available := u.at.Sub(before.at).Seconds() * float64(runtime.NumCPU())
	if available > 0 {
		use.OthersPercent = max(0, (u.machine-before.machine-own).Seconds()/available*100)
	}
	return use
}

// sum is the CPU time of a client and of the control plane, in milliseconds per unit.
func (c cpuUse) sum(client string) float64 {
	by := c.MillisecondsPerUnit
	return by[client] + by[processAPIServer] + by[processEtcd]
}
