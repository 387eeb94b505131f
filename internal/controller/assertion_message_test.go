package controller

import (
	"testing"
)

func TestWhatAServerNamesIsOneWordOfAShell(t *testing.T) {
	if got, want := quoted("a=https://x/$(id)`id`'; id"), `'a=https://x/$(id)`+"`id`"+`'\''; id'`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
