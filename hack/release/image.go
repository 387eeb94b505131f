package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	binary = "manager"
	user   = "65532:65532" // numbers, which runAsNonRoot wants, and nobody's on a usual node
	source = "https://github.com/mcp-connection/operator"
)

// images writes a layout with an index of all platforms, an archive for each, and the index's name by digest.
func (r *release) images(platforms []string, stdout io.Writer) error {
	tag, err := name.NewTag(r.name + ":" + r.version)
	if err != nil {
		return fmt.Errorf("the image's name: %w", err)
	}
	index := mutate.Annotations(empty.Index, r.labels()).(v1.ImageIndex)
	for _, p := range platforms {
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			return fmt.Errorf("platform %s: %w", p, err)
		}
		image, err := r.image(filepath.Join(r.binaries, filepath.FromSlash(p), binary), platform)
		if err != nil {
			return fmt.Errorf("making the image for %s: %w", p, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
		archive := filepath.Join(r.out, "image-"+strings.ReplaceAll(p, "/", "-")+".tar")
		if err := tarball.WriteToFile(archive, tag, image); err != nil {
			return fmt.Errorf("writing %s: %w", archive, err)
		}
		digest, err := image.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s %s, as %s in %s\n", p, digest, tag, filepath.Base(archive))
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	whole, err := layout.Write(filepath.Join(r.out, "image"), empty.Index)
	if err != nil {
		return fmt.Errorf("writing the layout: %w", err)
	}
	if err := whole.AppendIndex(index, layout.WithAnnotations(
		map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return fmt.Errorf("writing the layout: %w", err)
	}
	line := tag.Context().Digest(digest.String()).String() + "\n"
	fmt.Fprint(stdout, line)
	return os.WriteFile(filepath.Join(r.out, "image.txt"), []byte(line), 0o644)
}

// image holds one file and what a container engine has to know.
func (r *release) image(path string, platform *v1.Platform) (v1.Image, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	packed := &bytes.Buffer{}
	if err := pack(packed, r.created, file{name: binary, mode: 0o755, content: content}); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	},
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: r.created}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer,
		History: v1.History{Created: created, CreatedBy: "make image"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant, config.Created = platform.OS, platform.Architecture, platform.Variant,
		created
	config.Config = v1.Config{Entrypoint: []string{"/" + binary}, User: user, Labels: r.labels()}
	return mutate.ConfigFile(image, config)
}

func (r *release) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{prefix + "source": source, prefix + "version": r.version, prefix + "revision": r.revision,
		prefix + "licenses": "Apache-2.0"}
}
