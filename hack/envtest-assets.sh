#!/usr/bin/env bash
# Prints the folder with kube-apiserver, etcd and kubectl for tests. Everything else goes to stderr.
# Order: KUBEBUILDER_ASSETS, the cache, setup-envtest, a build from source of what is not on the PATH.
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
# progress says how far the build is: $new/building holds a program, how many packages are to be built for it, and when that began;
# $new/built has a line for each that is.
# shellcheck disable=SC2329 # called by the ticker
progress() {
  local program all since built
  if ! read -r program all since 2>/dev/null <"$new/building"; then echo "$((SECONDS - started)) s" && return; fi
  built=$(wc -l <"$new/built")
  printf '%s: %d of %d packages built' "$program" "$built" "$all"
  if [[ $built -gt 20 ]]; then printf ', about %d s left' $(((SECONDS - since) * (all - built) / built)); fi
}
while sleep 15; do say "... $(progress)"; done 9>&- &
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
  export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
  flags=(-trimpath -buildvcs=false -ldflags "-s -w ${4:-}")
  cd "$here/controlplane/$1" && say "building $3 from source ($2)" && go mod download
  all=$(go list -deps "${flags[@]}" -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$2" | wc -l)
  : >"$new/built"
  echo "$3 $all $SECONDS" >"$new/building"
  go build -v "${flags[@]}" -o "$new/assets/$3" "$2" 2>"$new/built" || { cat "$new/built" >&2; exit 1; }
  rm "$new/building"
)

newer() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; } # least version

# there_already takes a program from the PATH: an etcd of 3.5.21 or newer, a kubectl of the API server's minor version or the one before.
there_already() { # program
  local path version minor=${kubernetes#*.}
  path=$(command -v "$1") || return 1
  case $1 in
    etcd) version=$("$path" --version | sed -n 's/^etcd Version: //p') && newer 3.5.21 "$version" ;;
    kubectl)
      version=$("$path" version --client -o yaml | sed -n 's/^ *gitVersion: v//p')
      newer "1.$((${minor%%.*} - 1))" "$version" && newer "$version" "1.${minor%%.*}.999"
      ;;
    *) false ;;
  esac || return 1
  say "using $path, version $version"
  cp -L "$path" "$new/assets/$1"
}

say "trying setup-envtest for Kubernetes $kubernetes"
if download >"$new/log" 2>&1; then
  say "using the binaries of setup-envtest"
else
  say "setup-envtest had none ($(tail -n 1 "$new/log" | cut -c 1-160)); building from source, 5 to 10 minutes on two cores the first time, downloads apart"
  version="-X k8s.io/component-base/version.gitVersion=v$kubernetes"
  mkdir -p "$new/assets"
  there_already etcd || build etcd go.etcd.io/etcd/server/v3 etcd
  build kubernetes k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver "$version"
  there_already kubectl || build kubernetes k8s.io/kubernetes/cmd/kubectl kubectl "$version"
fi
chmod -R u+w "$new/assets"
usable "$new/assets"
rm -rf "$assets"
mv "$new/assets" "$assets"
say "ready after $((SECONDS - started)) s: $assets"
echo "$assets"
