package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// called runs the program, and is what it prints.
func called(t *testing.T, args ...string) string {
	t.Helper()
	out := &strings.Builder{}
	if err := run(t.Context(), args, out); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out.String()
}

// written is a folder with an image for two platforms.
func written(t *testing.T) string {
	t.Helper()
	binaries, out := t.TempDir(), t.TempDir()
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		must(t, os.MkdirAll(filepath.Join(binaries, platform), 0o700))
		must(t, os.WriteFile(filepath.Join(binaries, platform, "manager"), []byte("for "+platform), 0o600))
	}
	called(t, "image", "-name", "registry.test/operator", "-version", "v1", "-binaries", binaries, "-out", out,
		"linux/amd64", "linux/arm64")
	return out
}

func TestWhatIsPushedIsWhatWasWrittenForEachPlatform(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/team/operator"
	out := written(t)
	said := called(t, "push", filepath.Join(out, "image"), repository+":v1")

	tag, err := name.NewTag(repository + ":v1")
	must(t, err)
	index, err := remote.Index(tag)
	must(t, err)
	digest, err := index.Digest()
	must(t, err)
	want, err := os.ReadFile(filepath.Join(out, "image.txt"))
	must(t, err)
	if said != repository+"@"+digest.String()+"\n" || !strings.HasSuffix(string(want), "@"+digest.String()+"\n") {
		t.Errorf("it says %q, image.txt says %q, the registry has %s", said, want, digest)
	}
	manifest, err := index.IndexManifest()
	must(t, err)
	var got []string
	for _, entry := range manifest.Manifests {
		image, err := index.Image(entry.Digest)
		must(t, err)
		config, err := image.ConfigFile()
		must(t, err)
		layers, err := image.Layers()
		must(t, err)
		content, err := layers[0].Uncompressed()
		must(t, err)
		packed := tar.NewReader(content)
		_, err = packed.Next()
		must(t, err)
		text, err := io.ReadAll(packed)
		must(t, err)
		got = append(got, fmt.Sprintf("%s is %s/%s %s", entry.Platform, config.OS, config.Architecture, text))
	}
	if got := strings.Join(got, "; "); got != "linux/amd64 is linux/amd64 for linux/amd64; linux/arm64 is linux/arm64 "+
		"for linux/arm64" {
		t.Error(got)
	}
}

func TestAMistakeEndsInALineThatSaysWhatToDo(t *testing.T) {
	empty, bare := t.TempDir(), filepath.Join(t.TempDir(), "sbom.json")
	must(t, os.WriteFile(bare, []byte("{}"), 0o600))
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no command":                  {nil, "usage:"},
		"a command that there is not": {[]string{"build"}, "usage:"},
		"no platform":                 {[]string{"image"}, "usage:"},
		"a push without an image":     {[]string{"push", empty, "registry.test/operator:v1"}, "write one: make image"},
		"a push to a digest": {[]string{"push", empty, "registry.test/operator@sha256:" + strings.Repeat("0", 64)},
			"repository can only contain"},
		"a version that is no tag": {[]string{"image", "-name", "registry.test/operator", "-version", "a b",
			"linux/amd64"}, "the image's name: "},
		"a platform without a binary": {[]string{"image", "-name", "registry.test/operator", "-version", "v1", "-binaries",
			empty, "linux/amd64"}, "making the image for linux/amd64: "},
		"a chart without Chart.yaml": {[]string{"chart", empty}, "reading the chart: "},
		"an SBOM without metadata":   {[]string{"sbom", bare}, "has no metadata"},
		"checksums of no folder":     {[]string{"checksums", filepath.Join(empty, "dist")}, "no such file or directory"},
	} {
		if err := run(t.Context(), c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAChartIsPackagedWithTheVersionOfTheRelease(t *testing.T) {
	chart := filepath.Join(t.TempDir(), "operator")
	must(t, os.MkdirAll(filepath.Join(chart, "templates"), 0o700))
	must(t, os.WriteFile(filepath.Join(chart, "Chart.yaml"), []byte("apiVersion: v2\nname: operator\nversion: "+
		"0.0.0\nappVersion: \"dev\"\ntype: application\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(chart, "templates", "role.yaml"), []byte("kind: Role\n"), 0o600))
	for version, want := range map[string]string{
		"v1.2.3":                 "1.2.3",
		"v1.2.3-rc.1":            "1.2.3-rc.1",
		"v1.2.3-4-g0123456789ab": "1.2.3-4-g0123456789ab",
		"0123456789ab":           "0.0.0-dev-0123456789ab",
		"v1.2.3-dirty":           "1.2.3-dirty",
	} {
		out := t.TempDir()
		called(t, "chart", "-version", version, "-created", "1700000000", "-out", out, chart)
		zipped, err := os.Open(filepath.Join(out, "operator-"+want+".tgz"))
		must(t, err)
		defer zipped.Close()
		plain, err := gzip.NewReader(zipped)
		must(t, err)
		packed := tar.NewReader(plain)
		got := map[string]string{}
		for header, err := packed.Next(); err != io.EOF; header, err = packed.Next() {
			must(t, err)
			text, err := io.ReadAll(packed)
			must(t, err)
			got[header.Name] = string(text)
		}
		about := fmt.Sprintf("apiVersion: v2\nname: operator\nversion: %s\nappVersion: %q\ntype: application\n", want,
			version)
		if len(got) != 2 || got["operator/Chart.yaml"] != about || got["operator/templates/role.yaml"] != "kind: Role\n" {
			t.Errorf("%s: %q", version, got)
		}
	}
}

func TestAnSBOMTellsTheCommitsTimeAndNothingOfWhereItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sbom.cdx.json")
	must(t, os.WriteFile(path, []byte(
		`{"version": 1, "metadata": {"tools": [{"hashes": [{"alg": "MD5"}], "name": "tool"}], "timestamp": "2026-12-01T08:56:36Z"}, "components": [{"hashes": [], "purl": "a?b&c"}]}`), 0o600))
	called(t, "sbom", "-created", "1700000000", path)
	got, err := os.ReadFile(path)
	must(t, err)
	want := `{"components":[{"hashes":[],"purl":"a?b\u0026c"}],"metadata":{"timestamp":"2023-11-14T22:13:20Z","tools":[{"name":"tool"}]},"version":1}`
	compact := &bytes.Buffer{}
	must(t, json.Compact(compact, got))
	if compact.String() != want {
		t.Errorf("%s, want %s", compact, want)
	}
}

func TestChecksumsAreThoseOfTheFilesInOrder(t *testing.T) {
	folder := t.TempDir()
	must(t, os.Mkdir(filepath.Join(folder, "image"), 0o700))
	want := ""
	for _, name := range []string{"a.tar", "b.yaml"} {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(name), 0o600))
		want += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(name)), name)
	}
	for range 2 { // the second time there are checksums already
		called(t, "checksums", folder)
		got, err := os.ReadFile(filepath.Join(folder, "checksums.txt"))
		must(t, err)
		if string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
