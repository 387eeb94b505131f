package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// modulePath is the first line of the go.mod in the repository's root.
const modulePath = "module github.com/mcp-connection/operator"

// envAssets names the folder with etcd, kube-apiserver and kubectl.
const envAssets = "KUBEBUILDER_ASSETS"

// RepoRoot is the folder with the operator's go.mod, at or above the working directory.
func RepoRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && isOperatorModule(string(text)) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of the operator at or above the working directory: run this inside the repository")
		}
		dir = parent
	}
}

// InRepository is the path of a file or folder of the repository. It panics outside of it.
func InRepository(elements ...string) string {
	root, err := RepoRoot()
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// Build compiles the program of a folder of the repository into a file, with flags of go build.
func Build(ctx context.Context, file, folder string, flags ...string) error {
	root, err := RepoRoot()
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", file}, flags, []string{"."})...)
	build.Dir = filepath.Join(root, folder)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in ./%s: %w: %s", folder, err, out)
	}
	return nil
}

func isOperatorModule(text string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == modulePath {
			return true
		}
	}
	return false
}

// Assets is the folder with etcd, kube-apiserver and kubectl: KUBEBUILDER_ASSETS,
// or what the Makefile finds or builds. Progress of a build goes to standard error.
func Assets(ctx context.Context) (string, error) {
	if dir := os.Getenv(envAssets); dir != "" {
		return dir, nil
	}
	root, err := RepoRoot()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "make", "-s", "print-envtest-assets")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("make -s print-envtest-assets: %w (or set %s)", err, envAssets)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	dir := strings.TrimSpace(lines[len(lines)-1])
	if _, err := os.Stat(filepath.Join(dir, "kube-apiserver")); err != nil {
		return "", fmt.Errorf("make -s print-envtest-assets named no folder with kube-apiserver: %w", err)
	}
	return dir, os.Setenv(envAssets, dir) // found once
}
