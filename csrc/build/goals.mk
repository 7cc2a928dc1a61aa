# SPDX-License-Identifier: Apache-2.0
# Goals that begin on a bare machine: they install what they need first, and build in a make of their own, since
# what the Makefile learns while it is read (musl-gcc, the libpython) may not be there before.

PACKAGES := $(SCRIPTS)/packages

.PHONY: demo test bench engines podman runtime-tools conformance conformance-vm trace-viewer
demo:
	$(PACKAGES) build demo
	$(MAKE) all
	docs/demo.sh $(BUILD)/pyrunc

test:
	$(PACKAGES) build test
	$(MAKE) all extension $(VENV)/.test-ready
	PYTHON=$(VENV)/bin/python tests/run-all

bench:
	$(PACKAGES) build bench
	$(MAKE) all
	$(PYTHON) conformance/bench/bench.py --runtime $(BUILD)/pyrunc $(BENCH)

# The validation tests of OCI runtime-tools, in the machine's own view of the hierarchies, and the noise floor.
runtime-tools:
	$(PACKAGES) build runtime-tools
	$(MAKE) all
	$(PYTHON) conformance/runtime_tools --runtime $(BUILD)/pyrunc --floor

podman:
	$(PACKAGES) build podman
	$(MAKE) all
	conformance/engines/podman.sh --runtime $(BUILD)/pyrunc

ENGINES ?= podman buildah walkthrough containerd docker

# The daemons run in namespaces of their own, and end with them.
engines:
	$(PACKAGES) build engines
	$(MAKE) all
	status=0; for engine in $(ENGINES); do \
	    conformance/engines/$$engine.sh --runtime $(BUILD)/pyrunc || status=1; \
	done; exit $$status

# Whole systems in virtual machines: SUITES="v1 systemd" runs these alone, PYRUNC_VM is where the image is kept.
conformance-vm:
	$(PACKAGES) build test vm runtime-tools
	$(MAKE) all extension $(VENV)/.test-ready
	$(PYTHON) conformance/runtime_tools --make
	conformance/vm/image.sh
	conformance/vm/suites.sh $(SUITES)

# Every suite, with runc and crun to compare; CONFORMANCE=--record writes down what docs/conformance.md is made from.
conformance:
	$(PACKAGES) build conformance
	$(MAKE) all
	$(PYTHON) conformance/suites.py --runtime $(BUILD)/pyrunc $(CONFORMANCE)
	$(PYTHON) conformance/report.py $(if $(filter --record,$(CONFORMANCE)),,--check)

trace-viewer:
	$(PACKAGES) build trace-viewer
	$(MAKE) all
	$(VENV)/bin/python $(SCRIPTS)/install_group.py trace-viewer
	$(VENV)/bin/python conformance/trace_viewer.py --runtime $(BUILD)/pyrunc

ifdef READY
$(VENV)/.test-ready: $(READY)
	$(VENV)/bin/python $(SCRIPTS)/install_group.py test
	touch $@
endif
