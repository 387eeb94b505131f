package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packedPlugin is a folder with the archives of a version, and the time that they tell.
func packedPlugin(t *testing.T, version string) string {
	t.Helper()
	binaries, out, beside := t.TempDir(), t.TempDir(), t.TempDir()
	for _, path := range []string{"linux/amd64/kubectl-mcpc", "windows/arm64/kubectl-mcpc.exe"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(binaries, path)), 0o700))
		must(t, os.WriteFile(filepath.Join(binaries, path), []byte("for "+path), 0o600))
	}
	for _, name := range []string{"kubectl_complete-mcpc", "LICENSE"} {
		must(t, os.WriteFile(filepath.Join(beside, name), []byte(name), 0o600))
	}
	called(t, "plugin", "-version", version, "-created", "1700000000", "-binaries", binaries, "-out", out,
		"-completion", filepath.Join(beside, "kubectl_complete-mcpc"), "-license", filepath.Join(beside, "LICENSE"),
		"linux/amd64", "windows/arm64")
	return out
}

func TestThePluginIsPackedForEachSystemAndForKrew(t *testing.T) {
	first, second := files(t, packedPlugin(t, "v1.2.3")), files(t, packedPlugin(t, "v1.2.3"))
	if len(first) != 3 {
		t.Errorf("%d files", len(first))
	}
	for name := range first {
		if first[name] != second[name] {
			t.Errorf("%s is another file the second time", name)
		}
	}
	want := "kubectl-mcpc 755 for linux/amd64/kubectl-mcpc; kubectl_complete-mcpc 755 kubectl_complete-mcpc; " +
		"LICENSE 644 LICENSE"
	if got := untarred(t, first["kubectl-mcpc-linux-amd64.tar.gz"]); got != want {
		t.Errorf("the archive for Linux holds %s", got)
	}
	want = "kubectl-mcpc.exe 755 for windows/arm64/kubectl-mcpc.exe; kubectl_complete-mcpc 755 kubectl_complete-mcpc; " +
		"LICENSE 644 LICENSE"
	if got := unzipped(t, first["kubectl-mcpc-windows-arm64.zip"]); got != want {
		t.Errorf("the archive for Windows holds %s", got)
	}
	for name, part := range map[string]string{
		"kubectl-mcpc-linux-amd64.tar.gz": "{os: linux, arch: amd64}",
		"kubectl-mcpc-windows-arm64.zip":  "{os: windows, arch: arm64}",
	} {
		platform := fmt.Sprintf("matchLabels: %s\n      uri: "+
			"https://github.com/mcp-connection/operator/releases/download/v1.2.3/%s\n      sha256: %x\n", part, name,
			sha256.Sum256([]byte(first[name])))
		if !strings.Contains(first["mcpc.yaml"], platform) || !strings.Contains(first["mcpc.yaml"], "\n  version: v1.2.3\n") {
			t.Errorf("mcpc.yaml does not hold\n%s\nbut\n%s", platform, first["mcpc.yaml"])
		}
	}
	if dev := files(t, packedPlugin(t, "0123456789ab"))["mcpc.yaml"]; !strings.Contains(dev,
		"\n  version: v0.0.0-dev-0123456789ab\n") {
		t.Errorf("a commit has no version that krew reads:\n%s", dev)
	}
}

func untarred(t *testing.T, content string) string {
	t.Helper()
	plain, err := gzip.NewReader(strings.NewReader(content))
	must(t, err)
	packed := tar.NewReader(plain)
	var got []string
	for header, err := packed.Next(); err != io.EOF; header, err = packed.Next() {
		must(t, err)
		text, err := io.ReadAll(packed)
		must(t, err)
		got = append(got, fmt.Sprintf("%s %o %s", header.Name, header.Mode, text))
	}
	return strings.Join(got, "; ")
}

func unzipped(t *testing.T, content string) string {
	t.Helper()
	packed, err := zip.NewReader(bytes.NewReader([]byte(content)), int64(len(content)))
	must(t, err)
	var got []string
	for _, f := range packed.File {
		open, err := f.Open()
		must(t, err)
		text, err := io.ReadAll(open)
		must(t, err)
		got = append(got, fmt.Sprintf("%s %o %s", f.Name, f.Mode().Perm(), text))
	}
	return strings.Join(got, "; ")
}
