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
	// Height is how many lines fit the screen; 0 if nobody knows.
	Height int
	// Dumb reports whether it has no cursor to move (TERM=dumb).
	Dumb bool
}

// TerminalOf looks at a stream. NO_COLOR and TERM=dumb keep colours away.
func TerminalOf(stream any) Terminal {
	t := Terminal{Width: standardWidth}
	file, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return t
	}
	t.Is = true
	t.Dumb = os.Getenv("TERM") == "dumb"
	t.Colour = os.Getenv("NO_COLOR") == "" && !t.Dumb
	if width, height, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		t.Width, t.Height = width, height
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
