#!/usr/bin/env bash
# Runs each fuzz target of the module for a time, given as an argument (1m). An input that fails is written to the
# package's testdata/fuzz, and fails in `go test` from then on.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-1m}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# run fuzzes one target. When the time is over, the go command sometimes takes its own deadline for a failure, above all on
# a busy machine (go.dev/issue/75804): without an input that failed, and with nothing else to say, that is none.
run() {
  go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$time" 2>&1 | tee "$log" && return 0
  [[ $(grep -A1 '^--- FAIL' "$log" | tail -1) =~ ^\ +context\ deadline\ exceeded$ ]] && ! grep -q 'Failing input written' "$log"
}

for package in $(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do
  for target in $(go test -list '^Fuzz' "./$package" | grep '^Fuzz'); do
    echo "fuzz: $package $target"
    run "./$package" "$target" || { echo "fuzz: $package $target FAILED"; failed=1; }
  done
done
exit "$failed"
