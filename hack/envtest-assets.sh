#!/usr/bin/env bash
# Prints the folder with kube-apiserver, etcd and kubectl for tests. Everything else goes to stderr.
# Order: KUBEBUILDER_ASSETS, the cache, setup-envtest, a build from source.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { echo "envtest-assets: $*" >&2; }
pinned() { sed -n "s|^require $2 v||p" "$here/controlplane/$1/go.mod"; }
usable() {
  "$1/kube-apiserver" --version >&2 && "$1/etcd" --version >/dev/null && "$1/kubectl" version --client >/dev/null
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  say "using KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS"
  usable "$KUBEBUILDER_ASSETS" || { say "KUBEBUILDER_ASSETS lacks kube-apiserver, etcd or kubectl"; exit 1; }
  echo "$KUBEBUILDER_ASSETS"
  exit
fi

kubernetes=$(pinned kubernetes k8s.io/kubernetes)
etcd=$(pinned etcd go.etcd.io/etcd/server/v3)
setup_envtest=v0.25.1
root=${XDG_CACHE_HOME:-$HOME/.cache}/mcp-connection-operator/controlplane
assets=$root/$kubernetes-$etcd-$(go env GOARCH)
found_in_cache() {
  [[ -x $assets/kube-apiserver ]] || return 1
  say "using the cache, $assets"
  echo "$assets"
}

found_in_cache && exit
mkdir -p "$root"
if command -v flock >/dev/null; then # two makes at once: the second waits, then finds the cache filled
  exec 9>"$root/.lock"
  flock -n 9 || { say "waiting for another build"; flock 9; }
  found_in_cache && exit
fi

new=$(mktemp -d "$root/.new.XXXXXX")
ticker=
# shellcheck disable=SC2329 # called by the trap
cleanup() {
  [[ -z $ticker ]] || kill "$ticker" 2>/dev/null || true
  rm -rf "$new"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
started=$SECONDS
while sleep 15; do say "... $((SECONDS - started)) s"; done 9>&- &
ticker=$!

limit() { # seconds command...: without coreutils' timeout, just the command
  if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

download() {
  GOBIN=$new/bin limit 120 go install "sigs.k8s.io/controller-runtime/tools/setup-envtest@$setup_envtest" &&
    limit 20 "$new/bin/setup-envtest" list --bin-dir "$new/download" >/dev/null &&
    limit 600 "$new/bin/setup-envtest" use "${kubernetes%.*}.x" --bin-dir "$new/download" -p path >"$new/path" &&
    mkdir "$new/assets" && cp "$(cat "$new/path")"/* "$new/assets/"
}

build() ( # directory package output flags
  cd "$here/controlplane/$1" && say "building $3 from source ($2)" &&
    CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "-s -w ${4:-}" -o "$new/assets/$3" "$2"
)

say "trying setup-envtest for Kubernetes $kubernetes"
if download >"$new/log" 2>&1; then
  say "using the binaries of setup-envtest"
else
  say "setup-envtest had none ($(tail -n 1 "$new/log" | cut -c 1-160)); building from source, about 10 minutes on two cores the first time"
  version="-X k8s.io/component-base/version.gitVersion=v$kubernetes"
  mkdir -p "$new/assets"
  build etcd go.etcd.io/etcd/server/v3 etcd
  build kubernetes k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver "$version"
  build kubernetes k8s.io/kubernetes/cmd/kubectl kubectl "$version"
fi
chmod -R u+w "$new/assets"
usable "$new/assets"
rm -rf "$assets"
mv "$new/assets" "$assets"
say "ready after $((SECONDS - started)) s: $assets"
echo "$assets"
