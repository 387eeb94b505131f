package plugin

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

func TestAQRCodeIsDrawnWithItsMargin(t *testing.T) {
	const link = "https://connect.example.com/connect/" +
		"3def59016a8d46b197e1375c93829d0e-cfyLK_MvjMkNrFNdwuBtaJZb0CGkjU7wF8JW9vQ2Jis"
	text, err := qrCode(link)
	if err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode(link, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rows := (code.Size + 2*quiet + 1) / 2; len(lines) != rows {
		t.Fatalf("%d lines, want %d", len(lines), rows)
	}
	// Upper, lower.
	dark := map[rune][2]bool{'█': {false, false}, '▀': {false, true}, '▄': {true, false}, ' ': {true, true}}
	for row, line := range lines {
		runes := []rune(line)
		if len(runes) != code.Size+2*quiet || len(runes) > 80 {
			t.Fatalf("a line of %d characters", len(runes))
		}
		for column, r := range runes {
			for half := range 2 {
				x, y := column-quiet, 2*row+half-quiet
				if got, ok := dark[r]; !ok || got[half] != code.Black(x, y) {
					t.Fatalf("module %d, %d is wrong: %q", x, y, r)
				}
			}
		}
	}
}
