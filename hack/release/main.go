// Release makes what a release has and neither the compiler nor kustomize makes: images without a container engine, the
// chart's package and checksums. It pushes images too. The Makefile says with which words it is called.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const usage = `usage:
  release image [FLAGS] PLATFORM...   write images of DIR/PLATFORM/manager for all platforms
  release chart [FLAGS] CHART         write the package of the chart in the folder CHART
  release plugin [FLAGS] PLATFORM...  write archives of DIR/PLATFORM/kubectl-mcpc, and a manifest for krew
  release sbom [FLAGS] FILE           make a CycloneDX file the same whenever and wherever it is written
  release checksums FOLDER            write FOLDER/checksums.txt
  release push LAYOUT NAME:TAG        push what image wrote`

// release is what images and the chart say about themselves, and where they go.
type release struct {
	name, version, revision string
	created                 time.Time // of the commit, so that a later build is no other one
	binaries, out           string
	completion, license     string // files that are packed with the plugin
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	r := &release{}
	fs := flag.NewFlagSet("release "+args[0], flag.ContinueOnError)
	fs.StringVar(&r.name, "name", "", "the image's `name`, without a tag")
	fs.StringVar(&r.version, "version", "", "the `version`, which is the image's tag too")
	fs.StringVar(&r.revision, "revision", "", "the `commit`")
	fs.StringVar(&r.binaries, "binaries", "", "the `folder` DIR with a binary for each platform")
	fs.StringVar(&r.out, "out", "", "the `folder` to write to")
	fs.StringVar(&r.completion, "completion", "", "the `file` that goes into the plugin's archives as its completion")
	fs.StringVar(&r.license, "license", "", "the `file` with the license")
	seconds := fs.Int64("created", 0, "the commit's time, in `seconds` since 1970")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	r.created = time.Unix(*seconds, 0).UTC()
	switch command, rest := args[0], fs.Args(); {
	case command == "image" && len(rest) > 0:
		return r.images(rest, stdout)
	case command == "chart" && len(rest) == 1:
		return r.chart(rest[0])
	case command == "plugin" && len(rest) > 0:
		return r.plugin(rest)
	case command == "sbom" && len(rest) == 1:
		return r.sbom(rest[0])
	case command == "checksums" && len(rest) == 1:
		return checksums(rest[0])
	case command == "push" && len(rest) == 2:
		return push(ctx, rest[0], rest[1], stdout)
	default:
		return errors.New(usage)
	}
}
