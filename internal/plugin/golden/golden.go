// Package golden compares what the tests of the plugin see with files of testdata.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Compare fails the test if a text differs from testdata/NAME.txt. With UPDATE_GOLDEN in the environment it writes the
// file.
func Compare(t testing.TB, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // a file of testdata
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", file, got, want)
	}
}
