#!/usr/bin/env bash
# Checks format, lint, generated files, manifests, go.mod files, workflows, Dependabot's list and shell scripts. Changes nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
lint=$(hack/tool.sh golangci-lint)
generate=$(hack/tool.sh controller-gen)
kubectl=$(hack/envtest-assets.sh)/kubectl
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=()
check() { # name command...
  local name=$1 started=$SECONDS
  shift
  if "$@"; then echo "verify: $name ok in $((SECONDS - started))s"; else
    echo "verify: $name FAILED" >&2
    failed+=("$name")
  fi
}
folders() { find . -name "$1" -not -path '*/node_modules/*' -exec dirname {} \; | sort; } # that hold such a file
modules() { folders go.mod; }

lint() { # every module but those that only pin programs
  local module status=0
  for module in $(modules | grep -vE '^./(hack/(actionlint|controlplane|tools)|test/consumers/caddy)(/|$)'); do (cd "$module" && "$lint" run ./...) || status=1; done
  return $status
}

sizes() {
  local bad
  bad=$(find . -name '*_test.go' -not -path '*/node_modules/*' -exec awk 'END { if (FNR > 500) print FILENAME ": " FNR " lines, at most 500" }' {} \;
    awk '/^func .*\) Reconcile\(/ { start = FNR } /^}/ { if (start && FNR - start - 1 > 40) print FILENAME ": Reconcile has " FNR - start - 1 " lines, at most 40"; start = 0 }' internal/controller/*.go)
  [[ -z $bad ]] || { echo "$bad" >&2; return 1; }
}

generated() {
  "$generate" object paths=./api/... output:object:dir="$tmp/api" &&
    hack/crd.sh "$tmp/crd" &&
    "$generate" rbac:roleName=manager-role paths=./internal/... output:rbac:dir="$tmp/rbac" &&
    diff -u api/v1alpha1/zz_generated.deepcopy.go "$tmp/api/zz_generated.deepcopy.go" &&
    diff -ru config/crd/bases "$tmp/crd" &&
    diff -u config/rbac/role.yaml "$tmp/rbac/role.yaml" &&
    hack/chart-files.sh "$tmp/chart" &&
    diff -ru charts/mcp-connection-operator/files "$tmp/chart" && return
  echo "generated files are old: run make generate manifests" >&2
  return 1
}

manifests() { for dir in config/default config/local config/namespaced config/policies config/samples config/network-policy config/monitoring config/grafana config/gitops/argocd config/gitops/flux config/gitops/flux-without-people examples/consumers/sidecar; do "$kubectl" kustomize "$dir" >/dev/null || return; done; }

tidy() {
  local module status=0
  for module in $(modules); do (cd "$module" && go mod tidy -diff) || status=1; done
  return $status
}

workflows() { # every action by the hash of its commit, for tags can be moved; shellcheck is scripts' business
  local moving
  moving=$(grep -nE '^ *-? *uses:' .github/workflows/*.yml | grep -vE '@[0-9a-f]{40} # v[0-9.]+$|uses: \./')
  [[ -z $moving ]] || { echo "pin these by commit: $moving" >&2; return 1; }
  "$(hack/tool.sh actionlint)" -no-color -pyflakes=
}

dependabot() { # knows every folder with a go.mod or a package.json, and none that is gone
  diff <({ modules | sed 's|^\.|gomod |'; folders package.json | sed 's|^\.|npm |'; } | sed 's| $| /|' | sort) \
    <(awk '$2 == "package-ecosystem:" { of = $3 } $1 == "-" && $2 ~ "^/" { print of, $2 }' .github/dependabot.yml | sort) && return
  echo "in .github/dependabot.yml, list these (<) and take these out (>)" >&2
  return 1
}

named() { # what the pages for contributors name in one word is there: a file, or a word of the code
  local word missing=()
  for word in $(grep -oh '`[^` ]*`' CONTRIBUTING.md REVIEWING.md | tr -d '`' | sort -u); do
    [[ -e ${word/#\~/$HOME} ]] || grep -rqwF --include='*.go' -e "${word#mcp-connection.dev/}" api internal cmd || missing+=("$word")
  done
  [[ ${#missing[@]} -eq 0 ]] || { echo "CONTRIBUTING.md and REVIEWING.md name what is not there: ${missing[*]}" >&2; return 1; }
}

scripts() {
  command -v shellcheck >/dev/null || { echo "verify: no shellcheck here, scripts are not checked"; return 0; }
  shellcheck hack/*.sh .ci/run
}

check lint lint
check sizes sizes
check generated generated
check manifests manifests
check tidy tidy
check workflows workflows
check dependabot dependabot
check named named
check scripts scripts
[[ ${#failed[@]} -eq 0 ]] || { echo "verify: failed: ${failed[*]}" >&2; exit 1; }
