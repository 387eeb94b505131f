package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// sbom takes out of a CycloneDX file what tells when and where it was written: its time becomes the commit's, and the
// programs that wrote it go by their versions, not by hashes of how they were compiled.
func (r *release) sbom(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole := map[string]any{}
	if err := json.Unmarshal(text, &whole); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	metadata, ok := whole["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s has no metadata", path)
	}
	metadata["timestamp"] = r.created.Format(time.RFC3339)
	tools, _ := metadata["tools"].([]any)
	for _, tool := range tools {
		if tool, ok := tool.(map[string]any); ok {
			delete(tool, "hashes")
		}
	}
	text, err = json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
