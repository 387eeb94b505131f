package main

import (
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	chartName = regexp.MustCompile(`(?m)^name: *(\S+)$`)
	versions  = regexp.MustCompile(`(?m)^(version|appVersion): .*$`)
	semantic  = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?)$`)
)

// chart packages a chart as Helm would, with this release's version. Its appVersion is the image's tag.
func (r *release) chart(folder string) error {
	version := r.semanticVersion()
	about, err := os.ReadFile(filepath.Join(folder, "Chart.yaml"))
	if err != nil {
		return fmt.Errorf("reading the chart: %w", err)
	}
	found := chartName.FindSubmatch(about)
	if found == nil || len(versions.FindAll(about, -1)) != 2 {
		return fmt.Errorf("%s/Chart.yaml wants name, version and appVersion, each on a line of its own", folder)
	}
	name := string(found[1])
	about = versions.ReplaceAllFunc(about, func(line []byte) []byte {
		if strings.HasPrefix(string(line), "version") {
			return []byte("version: " + version)
		}
		return fmt.Appendf(nil, "appVersion: %q", r.version)
	})
	files, err := chartFiles(folder, name, about)
	if err != nil {
		return fmt.Errorf("reading the chart: %w", err)
	}
	out, err := os.Create(filepath.Join(r.out, name+"-"+version+".tgz"))
	if err != nil {
		return err
	}
	defer out.Close()
	zip := gzip.NewWriter(out)
	if err := pack(zip, r.created, files...); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return out.Close()
}

// semanticVersion is that of a tag, without its v; a commit without a tag has one that comes before all.
func (r *release) semanticVersion() string {
	if is := semantic.FindStringSubmatch(r.version); is != nil {
		return is[1]
	}
	return "0.0.0-dev-" + r.version
}

// chartFiles are those in a chart's folder, in a fixed order, in a folder of its name, with another Chart.yaml.
func chartFiles(folder, name string, about []byte) ([]file, error) {
	files := []file{{name: path.Join(name, "Chart.yaml"), mode: 0o644, content: about}}
	err := filepath.WalkDir(folder, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		within, err := filepath.Rel(folder, p)
		if err != nil || within == "Chart.yaml" {
			return err
		}
		content, err := os.ReadFile(p)
		files = append(files, file{name: path.Join(name, filepath.ToSlash(within)), mode: 0o644, content: content})
		return err
	})
	return files, err
}
