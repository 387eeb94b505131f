package kube

import (
	"os"

	"golang.org/x/term"
)

// standardWidth is assumed where nobody says how wide lines may be.
const standardWidth = 80

// Terminal is what is known of a stream that people may look at.
type Terminal struct {
	// Is reports whether it is one.
	Is bool
	// Colour reports whether it may be coloured.
	Colour bool
	// Width is how many characters fit a line; 80 if nobody knows.
	Width int
}

// TerminalOf looks at a stream. NO_COLOR and TERM=dumb keep colours away.
func TerminalOf(stream any) Terminal {
	t := Terminal{Width: standardWidth}
	file, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return t
	}
	t.Is = true
	t.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		t.Width = width
	}
	return t
}

// OutTerminal is what standard output is.
func (f *Factory) OutTerminal() Terminal { return f.terminal(f.Out) }

// InTerminal is what standard input is.
func (f *Factory) InTerminal() Terminal { return f.terminal(f.In) }

func (f *Factory) terminal(stream any) Terminal {
	if f.Terminal != nil {
		return *f.Terminal
	}
	return TerminalOf(stream)
}
