# Image of the operator, with its tag or digest: make image push deploy IMG=registry.example.com/operator:v1
IMG ?=
# What make image calls the image, and what a release pulls; without a tag, which is VERSION.
IMAGE ?= ghcr.io/mcp-connection/operator
PLATFORMS ?= linux/amd64 linux/arm64
PLUGIN_PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# Where browsers reach the callback Service. Without it the operator runs, and nobody can consent.
EXTERNAL_URL ?=
KUBECTL ?= kubectl
TESTFLAGS ?= -race -count=1 -timeout 15m
# A regular expression: only the tests and specs whose names match, such as TESTFOCUS='The quota'.
export TESTFOCUS ?=
FOCUS = $(if $(TESTFOCUS),-run "^TestSpecs\$$|$$TESTFOCUS")
FUZZTIME ?= 1m
# The same in every checkout of a commit: how short git makes a hash by itself depends on what else a clone holds.
VERSION ?= $$(git describe --tags --always --abbrev=12 --dirty 2>/dev/null || echo dev)
REVISION ?= $$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH ?= $$(git log -1 --format=%ct 2>/dev/null || echo 0)

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
# The same binary wherever it is built, by one version of Go.
GO_BUILD = CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off GOAMD64=v1 GOARM64=v8.0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
# The program that writes and pushes images, and what it is told of this commit.
RELEASE = go -C hack/release run .
COMMIT = -version "$(VERSION)" -revision "$(REVISION)" -created "$(SOURCE_DATE_EPOCH)" -out $(CURDIR)/dist

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
	hack/crd.sh config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=manager-role paths=./internal/... output:rbac:dir=config/rbac
	hack/chart-files.sh charts/mcp-connection-operator/files

.PHONY: tidy
tidy: ## Run go mod tidy in every module.
	@git ls-files '*go.mod' | while read -r file; do (cd "$$(dirname "$$file")" && go mod tidy); done

.PHONY: fmt
fmt: ## Format the Go code.
	$(GOLANGCI_LINT) fmt

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: lint
lint: ## Run golangci-lint with kube-api-linter.
	$(GOLANGCI_LINT) run

.PHONY: dev
dev: ## Run the operator against a control plane of its own, and build and restart it when its code changes; DEVFLAGS="--log-level=debug".
	@go run ./test/dev $(DEVFLAGS)

.PHONY: print-envtest-assets
print-envtest-assets: ## Print the folder with kube-apiserver, etcd and kubectl; builds them if need be.
	@hack/envtest-assets.sh

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what is linked (needs the open network).
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...
	go -C hack/release run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

##@ Tests

.PHONY: verify
verify: ## Check format, lint, generated files, manifests, go.mod files, workflows and scripts; changes nothing.
	@hack/verify.sh

.PHONY: test
test: ## Run unit tests, and specs against a real API server (envtest), with the race detector; TESTFOCUS='The quota' for some; out/junit gets what became of the specs.
	@rm -rf out/junit
	@assets=$(ASSETS); KUBEBUILDER_ASSETS=$$assets JUNIT_DIR=$(CURDIR)/out/junit go test $(TESTFLAGS) $(FOCUS) \
		./api/... $$(go list ./internal/... | grep -v '/internal/lifecycle$$') ./cmd/... ./test/harness ./test/matchers ./test/specs ./test/demo ./test/bench ./test/dev ./test/doctor ./test/faults ./test/mutants ./test/tenancy ./test/plugin
	@go test $(filter-out -race,$(TESTFLAGS)) $(FOCUS) ./internal/lifecycle # it begins no goroutine: the race detector would look at nothing

.PHONY: chart-test
chart-test: ## Test the Helm chart with Helm's own library, against a real API server (the first build takes minutes).
	@assets=$(ASSETS); cd test/chart && KUBEBUILDER_ASSETS=$$assets go test -vet=off -count=1 -timeout 20m ./...

.PHONY: gitops-test
gitops-test: ## Judge every state by kstatus, Flux and Argo CD, and lead connections through their life under these tools.
	@assets=$(ASSETS); cd test/gitops && KUBEBUILDER_ASSETS=$$assets go test -count=1 -v -timeout 10m ./...
	@cd test/gitops/argocd && go test -count=1 ./...

.PHONY: consumers-test
consumers-test: ## Run clients and the proxy through three refreshes, and check the examples (needs npm, curl and python3-httpx).
	@cd examples/consumers/typescript && npm ci --no-audit --no-fund --loglevel=error
	@cd examples/consumers/go && go test -count=1 ./...
	@assets=$(ASSETS); cd test/consumers && KUBEBUILDER_ASSETS=$$assets go test -count=1 -v -timeout 30m ./...

.PHONY: test-image
test-image: ## Build the image twice, compare, take it apart and run what is in it.
	@go -C hack/release test -count=1 ./...

.PHONY: demo
demo: ## Show the main job on real parts; INTERACTIVE=1 waits for a person, DEMO_KUBECONFIG names a cluster.
	@echo 'demo: compiling, which takes two minutes the first time' >&2
	@go run ./test/demo

.PHONY: docs
docs: ## Write the reasons of README.md, and the session and the verbs of docs/kubectl-mcpc.md, recorded on a live operator.
	@UPDATE=1 go test -count=1 -run TestTheReadmeHasTheTable ./internal/reasons
	@go run ./test/plugin

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
	@for suite in verify test rules-test chart-test gitops-test consumers-test test-image demo conformance interop faults-short; do \
		echo "ci: $$suite"; start=$$SECONDS; \
		$(MAKE) --no-print-directory $$suite </dev/null || { echo "ci: $$suite FAILED after $$((SECONDS - start))s"; exit 1; }; \
		echo "ci: $$suite ok in $$((SECONDS - start))s"; \
	done

##@ Build

.PHONY: build
build: ## Build bin/manager.
	$(GO_BUILD) -o bin/manager ./cmd

.PHONY: run
run: ## Run the operator against the cluster of the current kubeconfig.
	go run ./cmd --external-url=http://localhost:8082

.PHONY: wants-image
wants-image:
	@[[ -n '$(IMG)' ]] || { echo 'name the image: make $(MAKECMDGOALS) IMG=registry.example.com/mcp-connection-operator:v1' >&2; exit 1; }

.PHONY: binaries
binaries:
	@for platform in $(PLATFORMS); do \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO_BUILD) -o bin/$$platform/manager ./cmd; \
	done

.PHONY: plugin
plugin: ## Build bin/kubectl-mcpc; on the PATH it is kubectl mcpc.
	$(GO_BUILD) -o bin/kubectl-mcpc ./cmd/kubectl-mcpc

.PHONY: plugin-archives
plugin-archives: ## Write dist/kubectl-mcpc-*, the plugin for each system, and dist/mcpc.yaml; PLUGIN_PLATFORMS=linux/amd64 for one.
	@mkdir -p dist
	@for platform in $(PLUGIN_PLATFORMS); do \
		suffix=; [[ $$platform != windows/* ]] || suffix=.exe; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO_BUILD) -o bin/$$platform/kubectl-mcpc$$suffix ./cmd/kubectl-mcpc; \
	done
	@$(RELEASE) plugin $(COMMIT) -binaries $(CURDIR)/bin -completion $(CURDIR)/internal/plugin/kubectl_complete-mcpc -license $(CURDIR)/LICENSE $(PLUGIN_PLATFORMS)

.PHONY: image
image: binaries ## Write the image without a container engine: dist/image (OCI layout), and dist/image-*.tar to load; PLATFORMS=linux/amd64 for one.
	@rm -rf dist/image dist/image-*.tar dist/image.txt && mkdir -p dist
	@$(RELEASE) image $(COMMIT) -name '$(IMAGE)' -binaries $(CURDIR)/bin $(PLATFORMS)

.PHONY: push
push: wants-image ## Push what make image wrote as IMG, with the credentials of docker login or its like.
	@$(RELEASE) push $(CURDIR)/dist/image '$(IMG)'

.PHONY: dist
dist: ## Write all that a release has into dist/: images, manifests, chart, the kubectl plugin, dashboard, SBOM, checksums; a commit always gives the same.
	rm -rf dist
	@$(MAKE) --no-print-directory image plugin-archives sbom
	@$(MAKE) --no-print-directory build-installer IMG="$$(cat dist/image.txt)"
	@kubectl=$(ASSETS)/kubectl; $$kubectl kustomize config/crd >dist/crds.yaml; $$kubectl kustomize config/monitoring >dist/prometheus.yaml
	@$(RELEASE) chart $(COMMIT) $(CURDIR)/charts/mcp-connection-operator
	@cp config/grafana/dashboard.json dist/
	@$(RELEASE) checksums $(CURDIR)/dist
	@cat dist/checksums.txt

.PHONY: build-installer
build-installer: wants-image ## Write dist/install.yaml, everything in one file; wants IMG, and EXTERNAL_URL for consents.
	@mkdir -p dist
	$(RENDER) >dist/install.yaml
	$(RENDERED)

# Licenses are looked for in what was compiled, which go.sum vouches for, and not in the network: whether it has this version
# of the operator yet makes no difference.
.PHONY: sbom
sbom: binaries ## Write dist/sbom.cdx.json: what the binary is made of (CycloneDX).
	@mkdir -p dist
	CGO_ENABLED=0 GOBIN=$(CURDIR)/bin go install -trimpath github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
	GOPROXY=off GONOSUMDB='*' bin/cyclonedx-gomod bin -json -licenses -noserial -version "$(VERSION)" -output dist/sbom.cdx.json bin/$(firstword $(PLATFORMS))/manager
	@$(RELEASE) sbom $(COMMIT) $(CURDIR)/dist/sbom.cdx.json

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
