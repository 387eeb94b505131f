package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc (USER_HZ).
const tick = 10 * time.Millisecond

// child finds the process of a name that this one started last.
func child(name string) (int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	newest, started := 0, int64(-1)
	for _, file := range stats {
		comm, fields, err := readStat(file)
		if err != nil || comm != name || len(fields) < 20 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		at, err := strconv.ParseInt(fields[19], 10, 64)
		if err != nil || at < started {
			continue
		}
		started = at
		if newest, err = strconv.Atoi(filepath.Base(filepath.Dir(file))); err != nil {
			return 0, err
		}
	}
	if newest == 0 {
		return 0, fmt.Errorf("no child process %s", name)
	}
	return newest, nil
}

// readStat returns the name of a process and the fields after it; the first of them is the state.
func readStat(file string) (string, []string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	open, end := bytes.IndexByte(raw, '('), bytes.LastIndexByte(raw, ')')
	if open < 0 || end < open {
		return "", nil, errors.New("not a stat file")
	}
	return string(raw[open+1 : end]), strings.Fields(string(raw[end+1:])), nil
}

// cpuTime is what a process has used so far, in user and kernel mode.
func cpuTime(pid int) time.Duration {
	_, fields, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || len(fields) < 13 {
		return 0
	}
	return ticks(fields[11]) + ticks(fields[12])
}

func ticks(field string) time.Duration {
	n, err := strconv.ParseInt(field, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}

// machineBusy is the CPU time of everybody on the machine.
func machineBusy() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	var sum time.Duration
	for i, field := range strings.Fields(line) {
		if i >= 1 && i <= 8 && i != 4 && i != 5 { // without idle and iowait
			sum += ticks(field)
		}
	}
	return sum
}

// rssAnon is the anonymous memory of a process in MiB.
func rssAnon(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "RssAnon:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no RssAnon in /proc/PID/status")
}

// describeMachine says in general words on what the figures were taken.
func describeMachine() string {
	memory := ""
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(raw), "MemTotal: %d", &kib); err == nil {
			memory = fmt.Sprintf(", %d GiB of memory", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%s/%s, %d CPUs%s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), memory)
}
