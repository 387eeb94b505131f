package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
)

const (
	// regionSize is how much memory is looked at in one go.
	regionSize = 1 << 20
	// pagePresent is the bit of /proc/PID/pagemap for a page that is in memory.
	pagePresent = 1 << 63
)

// copiesInMemory counts occurrences of a text in the writable memory of a process. Pages that the process has not
// touched are left alone, for reading them would make it grow.
func copiesInMemory(pid int, text string) (int, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = mem.Close() }()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = pages.Close() }()
	found := 0
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		for ; from < to; from += regionSize {
			found += bytes.Count(touched(mem, pages, from, min(to, from+regionSize)), []byte(text))
		}
	}
	return found, nil
}

// touched are the contents of the present pages of a region, one after the other.
func touched(mem, pages *os.File, from, to int64) []byte {
	size := int64(os.Getpagesize())
	entries := make([]byte, (to-from)/size*8)
	if n, err := pages.ReadAt(entries, from/size*8); err != nil {
		entries = entries[:n/8*8]
	}
	contents := make([]byte, 0, to-from)
	page := make([]byte, size)
	for i := 0; i < len(entries); i += 8 {
		if binary.LittleEndian.Uint64(entries[i:])&pagePresent == 0 {
			continue
		}
		if n, err := mem.ReadAt(page, from+int64(i/8)*size); err == nil || n > 0 {
			contents = append(contents, page[:n]...)
		}
	}
	return contents
}
