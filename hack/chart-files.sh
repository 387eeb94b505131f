#!/usr/bin/env bash
# Writes what the Helm chart takes from config into the folder $1, so that nothing is edited in two places.
set -euo pipefail

to=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$to/policies"
cp config/crd/bases/mcp-connection.dev_mcpconnections.yaml "$to/crd.yaml"
cp config/rbac/role.yaml "$to/role.yaml"
cp config/policies/{compatibility,server_hosts,references/references}.yaml "$to/policies/"
cp config/prometheus/rules.yaml config/grafana/dashboard.json "$to/"
