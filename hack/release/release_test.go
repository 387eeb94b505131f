package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program in a folder, and is what it prints.
func command(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=0") // this test may itself be run by make
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// made is a new folder with what an image is made of, and with the image and the plugin for this machine in dist.
func made(t *testing.T, prepare func(folder string)) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"Makefile", "LICENSE", "go.mod", "go.sum", "api", "cmd", "internal", "hack/release"} {
		from, to := filepath.Join("..", "..", name), filepath.Join(folder, name)
		if info, err := os.Stat(from); err == nil && info.IsDir() {
			must(t, os.CopyFS(to, os.DirFS(from)))
			continue
		}
		content, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(to, content, 0o600))
	}
	prepare(folder)
	command(t, folder, "make", "image", "plugin-archives", "PLATFORMS=linux/"+runtime.GOARCH, "PLUGIN_PLATFORMS=linux/"+
		runtime.GOARCH, "IMAGE=registry.test/operator", "VERSION=v1.2.3", "REVISION=abc", "SOURCE_DATE_EPOCH=1700000000")
	return folder
}

// files are those of a folder, with what is in them.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, path))
		found[path] = string(content)
		return err
	}))
	return found
}

func TestTheImageHoldsOneFileAndIsTheSameTwice(t *testing.T) {
	first := made(t, func(string) {})
	second := made(t, func(folder string) { // in a repository, of which the binary knows nothing
		command(t, folder, "git", "init", "--quiet")
		command(t, folder, "git", "add", ".")
		command(t, folder, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet",
			"--message", "test")
	})
	one, other := files(t, filepath.Join(first, "dist")), files(t, filepath.Join(second, "dist"))
	// The archive, the digest, and the layout: what it is, its index, the image's index, manifest, config and layer; the
	// plugin, and krew's manifest.
	if len(one) != 10 {
		t.Errorf("%d files", len(one))
	}
	for name := range one {
		if one[name] != other[name] {
			t.Errorf("%s is another file the second time", name)
		}
	}
	index, err := read(filepath.Join(first, "dist", "image"))
	must(t, err)
	digest, err := index.Digest()
	must(t, err)
	if want := "registry.test/operator@" + digest.String() + "\n"; one["image.txt"] != want {
		t.Errorf("image.txt says %q, want %q", one["image.txt"], want)
	}
	manifest, err := index.IndexManifest()
	must(t, err)
	image, err := index.Image(manifest.Manifests[0].Digest)
	must(t, err)
	wantConfig(t, image)
	path := unpack(t, image)
	wantStatic(t, path)
	if runtime.GOOS == "linux" { // elsewhere there is nobody to run it
		if got := command(t, "", path, "--version"); got != "mcp-connection-operator v1.2.3\n" {
			t.Errorf("it says %q", got)
		}
	}
	archived, err := tarball.ImageFromPath(filepath.Join(first, "dist", "image-linux-"+runtime.GOARCH+".tar"), nil)
	must(t, err)
	wantConfig(t, archived)
}

func wantConfig(t *testing.T, image v1.Image) {
	t.Helper()
	config, err := image.ConfigFile()
	must(t, err)
	if config.OS != "linux" || config.Architecture != runtime.GOARCH || config.Created.Unix() != 1700000000 {
		t.Errorf("it is for %s/%s, of %s", config.OS, config.Architecture, config.Created)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/manager"}) || len(config.Config.Cmd) != 0 ||
		config.Config.User != "65532:65532" {
		t.Errorf("%s runs %q %q", config.Config.User, config.Config.Entrypoint, config.Config.Cmd)
	}
	for label, want := range map[string]string{"source": "https://github.com/mcp-connection/operator", "version": "v1.2.3",
		"revision": "abc", "licenses": "Apache-2.0"} {
		if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("the label %s is %q, want %q", label, got, want)
		}
	}
}

// unpack writes the file that an image holds, and is its path.
func unpack(t *testing.T, image v1.Image) string {
	t.Helper()
	layers, err := image.Layers()
	must(t, err)
	if len(layers) != 1 {
		t.Fatalf("%d layers", len(layers))
	}
	layer, err := layers[0].Uncompressed()
	must(t, err)
	defer layer.Close()
	packed := tar.NewReader(layer)
	header, err := packed.Next()
	must(t, err)
	if header.Name != "manager" || header.Mode != 0o755 || header.Uid != 0 || header.Gid != 0 ||
		header.ModTime.Unix() != 1700000000 {
		t.Errorf("it holds %+v", header)
	}
	content, err := io.ReadAll(packed)
	must(t, err)
	if next, err := packed.Next(); err != io.EOF {
		t.Errorf("it holds %+v too (%v)", next, err)
	}
	path := filepath.Join(t.TempDir(), "manager")
	must(t, os.WriteFile(path, content, 0o700))
	return path
}

// wantStatic finds a binary that asks for a loader or libraries, which are not in the image.
func wantStatic(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	program, err := elf.NewFile(bytes.NewReader(content))
	must(t, err)
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has %s", part.Type)
		}
	}
}
