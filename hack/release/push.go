package main

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push sends a layout to a registry as it is, with the credentials that docker login, or another program's login, has
// stored, and prints the name by digest.
func push(ctx context.Context, folder, to string, stdout io.Writer) error {
	tag, err := name.NewTag(to)
	if err != nil {
		return err
	}
	index, err := read(folder)
	if err != nil {
		return fmt.Errorf("there is no image in %s (%w), write one: make image", folder, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing %s: %w", tag, err)
	}
	fmt.Fprintln(stdout, tag.Context().Digest(digest.String()))
	return nil
}

// read is the index of all platforms, the one thing in a layout.
func read(folder string) (v1.ImageIndex, error) {
	whole, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, err
	}
	manifest, err := whole.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("it has %d entries", len(manifest.Manifests))
	}
	return whole.ImageIndex(manifest.Manifests[0].Digest)
}
