#!/usr/bin/env bash
# Writes the CRD into a folder. Times get a pattern: the API server takes more forms of them for date-time than a client in Go
# can read, and one object that cannot be read ends the list of all, and with it the operator.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
"$(hack/tool.sh controller-gen)" crd paths=./api/... output:crd:dir="$1"
time='^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$'
for file in "$1"/*.yaml; do
  sed -i.bak -E "s/^( *)format: date-time\$/&\n\1pattern: $time/" "$file"
  rm "$file.bak"
done
