# Image of the operator: make docker-build deploy IMG=registry.example.com/operator:v1
IMG ?=
# Where browsers reach the callback Service. Without it the operator runs, and nobody can consent.
EXTERNAL_URL ?=
KUBECTL ?= kubectl
TESTFLAGS ?= -race -count=1 -timeout 15m
FUZZTIME ?= 1m
VERSION ?= $$(git describe --tags --always --dirty 2>/dev/null || echo dev)

SHELL = /usr/bin/env bash -o pipefail
.SHELLFLAGS = -ec
.DEFAULT_GOAL = help

# Pinned programs, found or built when a recipe runs; see hack/.
ASSETS = $$(hack/envtest-assets.sh)
CONTROLLER_GEN = $$(hack/tool.sh controller-gen)
GOLANGCI_LINT = $$(hack/tool.sh golangci-lint)
# The kubectl of the test control plane renders manifests, so that the result does not hang on the one installed here.
RENDER = $(ASSETS)/kubectl kustomize config/default | \
	sed -e 's|image: ghcr.io/mcp-connection/operator:latest|image: $(IMG)|' \
	$(if $(EXTERNAL_URL),-e 's|^\( *\)- --leader-elect$$|&\n\1- --external-url=$(EXTERNAL_URL)|')
# What is said after that.
RENDERED = $(if $(EXTERNAL_URL),,@echo 'without EXTERNAL_URL: the operator does not know where browsers reach it, and nobody can consent until it does: make $@ IMG=$(IMG) EXTERNAL_URL=https://...' >&2)

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make \033[36m<target>\033[0m\n"} /^[a-z-]+:.*##/ {printf "  \033[36m%-22s\033[0m %s\n", $$1, $$2} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)}' $(MAKEFILE_LIST)

##@ Development

.PHONY: generate
generate: ## Generate DeepCopy methods.
	$(CONTROLLER_GEN) object paths=./api/...

.PHONY: manifests
manifests: ## Generate the CRD and the manager's Role from markers, and copy what the chart takes from config.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=manager-role paths=./internal/... output:rbac:dir=config/rbac
	hack/chart-files.sh charts/mcp-connection-operator/files

.PHONY: fmt
fmt: ## Format the Go code.
	$(GOLANGCI_LINT) fmt

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: lint
lint: ## Run golangci-lint with kube-api-linter.
	$(GOLANGCI_LINT) run

.PHONY: print-envtest-assets
print-envtest-assets: ## Print the folder with kube-apiserver, etcd and kubectl; builds them if need be.
	@hack/envtest-assets.sh

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what is linked (needs the open network).
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

##@ Tests

.PHONY: verify
verify: ## Check format, lint, generated files, manifests, go.mod files, workflows and scripts; changes nothing.
	@hack/verify.sh

.PHONY: test
test: ## Run unit tests and tests against a real API server (envtest), with the race detector.
	@assets=$(ASSETS); KUBEBUILDER_ASSETS=$$assets go test $(TESTFLAGS) ./api/... ./internal/... ./cmd/... ./test/harness ./test/demo ./test/bench ./test/faults ./test/tenancy

.PHONY: chart-test
chart-test: ## Test the Helm chart with Helm's own library, against a real API server (the first build takes minutes).
	@assets=$(ASSETS); cd test/chart && KUBEBUILDER_ASSETS=$$assets go test -vet=off -count=1 -timeout 20m ./...

.PHONY: demo
demo: ## Show the main job on real parts; INTERACTIVE=1 waits for a person, DEMO_KUBECONFIG names a cluster.
	@go run ./test/demo

.PHONY: interop
interop: ## Run the operator against authorization servers written by others (needs node and npm).
	@cd test/interop && npm ci --no-audit --no-fund
	@go test ./test/interop/... -count=1 -v -timeout 20m

.PHONY: conformance
conformance: ## Run the official MCP conformance suite (needs npm); RUN selects runs, such as RUN=auth/iss-.
	@cd test/conformance && npm ci --no-audit --no-fund --loglevel=error
	@go test -count=1 ./test/conformance/...
	@go run ./test/conformance -run '$(RUN)'

.PHONY: rules-test
rules-test: ## Parse and evaluate the alert rules with Prometheus' own packages, and check the dashboard.
	@cd test/alerts && go test -count=1 ./...

.PHONY: promtool
promtool: ## Check the alert rules with Prometheus' promtool (a long build, the first time).
	@mkdir -p out
	@sed '1,/^spec:$$/d; s/^  //' config/prometheus/rules.yaml >out/rules.yaml
	@go run github.com/prometheus/prometheus/cmd/promtool@$$(cd test/alerts && go list -m -f '{{.Version}}' github.com/prometheus/prometheus) check rules --lint=all --lint-fatal out/rules.yaml

.PHONY: faults
faults: ## Kill, freeze, cut off and mislead the operator over 500 refreshes, Linux only (15 minutes); FAULTSFLAGS="-seed 7" repeats a run.
	@go run ./test/faults $(FAULTSFLAGS)

.PHONY: faults-short
faults-short: ## The same over 100 refreshes, with a fixed seed and one frozen leader (under 4 minutes).
	@go run ./test/faults -seed 1 -refreshes 100 -quick

.PHONY: bench
bench: ## Measure rates, API requests, lateness and memory beside a plain client-go loop (12 minutes); BENCHFLAGS="-n 200" for less.
	@go run ./test/bench -json out/bench.json $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (1m).
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: mutants
mutants: ## Take security controls out of the source, one at a time: a test must notice each; MUTANTSFLAGS="-run cookie" for some.
	@assets=$(ASSETS); KUBEBUILDER_ASSETS=$$assets go run ./test/mutants $(MUTANTSFLAGS)

.PHONY: ci
ci: ## Run all that CI runs.
	@for suite in verify test rules-test chart-test demo conformance interop faults-short; do \
		echo "ci: $$suite"; start=$$SECONDS; \
		$(MAKE) --no-print-directory $$suite </dev/null || { echo "ci: $$suite FAILED after $$((SECONDS - start))s"; exit 1; }; \
		echo "ci: $$suite ok in $$((SECONDS - start))s"; \
	done

##@ Build

.PHONY: build
build: ## Build bin/manager.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/manager ./cmd

.PHONY: run
run: ## Run the operator against the cluster of the current kubeconfig.
	go run ./cmd --external-url=http://localhost:8082

.PHONY: wants-image
wants-image:
	@[[ -n '$(IMG)' ]] || { echo 'name the image: make $(MAKECMDGOALS) IMG=registry.example.com/mcp-connection-operator:v1' >&2; exit 1; }

.PHONY: docker-build
docker-build: wants-image ## Build the image IMG.
	docker build --build-arg "VERSION=$(VERSION)" -t $(IMG) .

.PHONY: build-installer
build-installer: wants-image ## Write dist/install.yaml, everything in one file; wants IMG, and EXTERNAL_URL for consents.
	@mkdir -p dist
	$(RENDER) >dist/install.yaml
	$(RENDERED)

.PHONY: sbom
sbom: build ## Write dist/sbom.cdx.json: what the binary is made of (CycloneDX).
	@mkdir -p dist
	go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -licenses -version "$(VERSION)" -output dist/sbom.cdx.json bin/manager

##@ Deployment

.PHONY: install
install: ## Install the CRD into the cluster of the current kubeconfig.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRD and with it every connection; run it while the operator still runs.
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: wants-image ## Install everything; wants IMG, and EXTERNAL_URL for consents.
	$(RENDER) | $(KUBECTL) apply --server-side -f -
	$(RENDERED)

.PHONY: undeploy
undeploy: ## Remove the connections, then everything else.
	$(KUBECTL) delete mcpconnections.mcp-connection.dev --all --all-namespaces --ignore-not-found
	$(KUBECTL) delete --ignore-not-found -k config/default
