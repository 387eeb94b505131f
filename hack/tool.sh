#!/usr/bin/env bash
# Prints the path of a pinned program of hack/tools or hack/actionlint, and builds it first if the cache lacks it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
module=tools
case ${1:-} in
controller-gen) package=sigs.k8s.io/controller-tools/cmd/controller-gen ;;
golangci-lint) package=sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter ;; # golangci-lint with kube-api-linter in it
actionlint) module=actionlint package=github.com/rhysd/actionlint/cmd/actionlint ;;
*) echo "usage: $0 controller-gen|golangci-lint|actionlint" >&2; exit 2 ;;
esac
cd "$module"
key=$({ cat go.mod go.sum; go env GOVERSION GOARCH; } | git hash-object --stdin)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/mcp-connection-operator/tools/${key:0:16}
if [[ ! -x $bin/$1 ]]; then
  echo "building $1 (kept in $bin)" >&2
  mkdir -p "$bin"
  GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$bin/.$1.$$" "$package"
  mv "$bin/.$1.$$" "$bin/$1"
fi
echo "$bin/$1"
