# Needed beforehand: Go 1.26.6 or newer, Node 20 or newer, npm, make. `make setup` gets the rest.
CACHE := $(or $(IPS_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/image-prewarm-service)
NODE := $(shell ./scripts/node.sh path $(CACHE))
export PATH := $(NODE):$(PATH)
CLUSTER ?= dev
ROUNDS ?= 3
SIZES ?= 300,1000,5000
WORKLOADS ?= 500

# A kubeconfig counts only when it is passed on purpose (make test-e2e KUBECONFIG=…), never the shell's own.
ifeq ($(origin KUBECONFIG),command line)
export IPS_TEST_KUBECONFIG := $(KUBECONFIG)
endif
unexport KUBECONFIG

.PHONY: help setup setup-cluster demo test test-unit test-e2e fuzz lint format bench-admission bench-fanout bench-scale bench-match cluster-up cluster-down rules undeploy presubmit

help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  CLUSTER=name      of cluster-up and cluster-down; CLUSTER=--all ends every cluster, crashed ones too"
	@echo "  KUBECONFIG=file   of undeploy; demo and test-e2e use this running cluster (one from cluster-up) too"
	@echo "  KUBEBUILDER_ASSETS, IPS_CACHE_DIR: control-plane binaries to prefer; where builds are kept"

setup: ## Get Node 24 where it is missing, and the npm packages
	@./scripts/node.sh install $(CACHE)
	@./scripts/packages.sh

setup-cluster: setup
	@./scripts/cluster-needs.sh

demo: setup-cluster ## Show the main job on a real local cluster: cold and warm, side by side
	@node test/demo.ts

test: setup ## Run all tests; ends with "N passed, N failed, N skipped"
	@node test/run.ts unit cli oracle fuzz conformance e2e chaos

test-unit: setup ## Run the tests that need no other process
	@node test/run.ts unit

test-e2e: setup ## Run the tests on a real cluster; FILES="test/e2e/images.test.ts …" runs only those
	@node test/run.ts e2e $(FILES)

fuzz: setup ## Ask admission whatever a grammar comes to, for ten minutes; SECONDS=60, SEED=1 repeats
	@node test/fuzz/run.ts --seconds '$(SECONDS)' --seed '$(SEED)'

.PHONY: oracle oracle-vectors
oracle: setup ## Compare with the scheduler's own library on fresh cases (SEED=number CASES=50000)
	@IPS_TEST_SEED='$(SEED)' IPS_ORACLE_CASES='$(CASES)' node test/run.ts oracle

oracle-vectors: setup ## Write the cases of the unit tests anew, with that library's answers
	@node test/oracle/write-vectors.ts

.PHONY: chaos
chaos: setup-cluster ## Hurt three replicas, Redis and the API server at random, under load (SEED=1 MINUTES=5 RUNS=1)
	@node test/chaos/main.ts --seed '$(SEED)' --minutes '$(MINUTES)' --runs '$(RUNS)'

lint: setup ## Check style, types and which module may import which
	@node_modules/.bin/biome check .
	@node_modules/.bin/tsc --noEmit
	@node test/imports.ts

format: setup ## Rewrite the sources in the project's style
	@node_modules/.bin/biome check --write .

bench-scale: setup-cluster ## Measure IPS beside bare Jobs on thousands of fake nodes; an hour (SIZES=300,1000,5000 SHAPES=ips-50,… WORKLOADS=500)
	@node bench/scale/main.ts --sizes $(SIZES) --workloads $(WORKLOADS) --shapes '$(SHAPES)' --page

bench-fanout: setup-cluster ## Measure how wide pulls fan out on a registry with a limit, on 10 real nodes (ROUNDS=1; 10 minutes each)
	@node bench/fanout/main.ts --rounds $(ROUNDS)

bench-match: setup ## Measure matching nodes beside kube-scheduler's library; writes docs/performance.md (ROUNDS=3)
	@node bench/match/main.ts --rounds $(ROUNDS)

bench-admission: setup ## Measure admission beside a Go webhook and bare Node; writes docs/performance.md (ROUNDS=3)
	@./scripts/bench-needs.sh
	@node bench/admission/main.ts --rounds $(ROUNDS)

cluster-up: setup-cluster ## Start a real cluster that stays, and print its kubeconfig
	@node test/cluster/cli.ts up $(CLUSTER)

cluster-down: setup ## End that cluster and all it left
	@node test/cluster/cli.ts down $(CLUSTER)

rules: setup ## Make the PrometheusRule from deploy/components/monitoring/rules.yaml
	@node scripts/prometheus-rule.ts

undeploy: setup ## Take IPS out of the cluster of KUBECONFIG=file, with all that it wrote on workloads
	@[ -n '$(IPS_TEST_KUBECONFIG)' ] || { echo 'Say which cluster: make undeploy KUBECONFIG=file' >&2; exit 2; }
	@node src/main.ts uninstall --kubeconfig '$(IPS_TEST_KUBECONFIG)'

presubmit: lint test ## What a change has to pass
