package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// guarded runs a program and watches the process that wanted it. The program takes the place of the shell, whose
// process id it keeps; the watch is a child of it, and ends with it.
const guarded = `#!/bin/sh
( while kill -0 %d && kill -0 $$; do sleep 1; done; kill -KILL $$ ) >/dev/null 2>&1 &
exec '%s' "$@"
`

// EndWithThisProcess has etcd and kube-apiserver killed within two seconds of the end of this process, should it crash
// or be killed before it has stopped them: envtest would leave them behind. It is called before env.Start. assets is
// the folder of the programs; dir gets the scripts that run them, and must last until env.Stop.
func EndWithThisProcess(env *envtest.Environment, assets, dir string) error {
	if env.ControlPlane.Etcd == nil {
		env.ControlPlane.Etcd = &envtest.Etcd{}
	}
	for program, path := range map[string]*string{
		"etcd":           &env.ControlPlane.Etcd.Path,
		"kube-apiserver": &env.ControlPlane.GetAPIServer().Path,
	} {
		*path = filepath.Join(dir, program)
		script := fmt.Sprintf(guarded, os.Getpid(), strings.ReplaceAll(filepath.Join(assets, program), "'", `'\''`))
		if err := os.WriteFile(*path, []byte(script), 0o700); err != nil {
			return err
		}
	}
	return nil
}
