package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// krew is the manifest by which krew, kubectl's package manager for plugins, installs the archives of a release.
var krew = template.Must(template.New("krew").Parse(`apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: mcpc
spec:
  version: {{.Version}}
  homepage: {{.Source}}
  shortDescription: Connect workloads to MCP servers that demand OAuth
  description: |
    Creates, lists and shows MCPConnections of mcp-connection-operator, opens the
    link for a consent and waits for it (it forwards the port of a loopback
    address by itself), refreshes, revokes and suspends.
  platforms:
{{- range .Archives}}
    - selector:
        matchLabels: {os: {{.OS}}, arch: {{.Arch}}}
      uri: {{$.Source}}/releases/download/{{$.Tag}}/{{.Name}}
      sha256: {{.SHA256}}
      bin: {{.Binary}}
{{- end}}
`))

// archive of the plugin for one platform.
type archive struct{ OS, Arch, Name, Binary, SHA256 string }

// plugin writes an archive for each platform, of DIR/PLATFORM/kubectl-mcpc, of the program that completes it and of the
// license, and the manifest for krew.
func (r *release) plugin(platforms []string) error {
	var archives []archive
	for _, platform := range platforms {
		system, arch, found := strings.Cut(platform, "/")
		if !found {
			return fmt.Errorf("platform %s is not written as linux/amd64", platform)
		}
		a := archive{OS: system, Arch: arch, Name: "kubectl-mcpc-" + system + "-" + arch + ".tar.gz", Binary: "kubectl-mcpc"}
		if system == "windows" {
			a.Name, a.Binary = strings.TrimSuffix(a.Name, ".tar.gz")+".zip", a.Binary+".exe"
		}
		content, err := r.packed(a, filepath.Join(r.binaries, system, arch, a.Binary), r.completion, r.license)
		if err != nil {
			return fmt.Errorf("making the archive for %s: %w", platform, err)
		}
		if err := os.WriteFile(filepath.Join(r.out, a.Name), content, 0o644); err != nil {
			return err
		}
		a.SHA256 = fmt.Sprintf("%x", sha256.Sum256(content))
		archives = append(archives, a)
	}
	manifest := &bytes.Buffer{}
	err := krew.Execute(manifest, map[string]any{"Version": "v" + r.semanticVersion(), "Tag": r.version, "Source": source,
		"Archives": archives})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "mcpc.yaml"), manifest.Bytes(), 0o644)
}

// packed is the archive's bytes, which depend on its files and on the commit's time alone.
func (r *release) packed(a archive, paths ...string) ([]byte, error) {
	var files []file
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f := file{name: filepath.Base(path), mode: 0o755, content: content}
		if f.name == "LICENSE" {
			f.mode = 0o644
		}
		files = append(files, f)
	}
	out := &bytes.Buffer{}
	if a.OS == "windows" {
		err := r.zipped(out, files)
		return out.Bytes(), err
	}
	zipped := gzip.NewWriter(out)
	if err := pack(zipped, r.created, files...); err != nil {
		return nil, err
	}
	err := zipped.Close()
	return out.Bytes(), err
}

func (r *release) zipped(w io.Writer, files []file) error {
	out := zip.NewWriter(w)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: r.created}
		header.SetMode(os.FileMode(f.mode))
		w, err := out.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := w.Write(f.content); err != nil {
			return err
		}
	}
	return out.Close()
}
