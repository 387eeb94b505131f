package plugin

import (
	"io"
	"strings"

	"github.com/cli/browser"
	"rsc.io/qr"
)

// openBrowser opens a link as the desktop would. It may return only when the browser ends.
func openBrowser(link string) error {
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	return browser.OpenURL(link)
}

// quiet is the margin of a QR code, in modules (ISO/IEC 18004, section 6.3.8).
const quiet = 4

// qrCode draws a link with half blocks, light on dark: two modules to a character, so that they are squares.
func qrCode(link string) (string, error) {
	code, err := qr.Encode(link, qr.L)
	if err != nil {
		return "", err
	}
	light := func(x, y int) bool { return !code.Black(x, y) } // outside of the code all is light
	var out strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		for x := -quiet; x < code.Size+quiet; x++ {
			switch upper, lower := light(x, y), light(x, y+1); {
			case upper && lower:
				out.WriteRune('█')
			case upper:
				out.WriteRune('▀')
			case lower:
				out.WriteRune('▄')
			default:
				out.WriteRune(' ')
			}
		}
		out.WriteByte('\n')
	}
	return out.String(), nil
}
