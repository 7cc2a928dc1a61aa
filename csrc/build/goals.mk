# SPDX-License-Identifier: Apache-2.0
# Goals that begin on a bare machine: they install what they need first, and build in a make of their own, since
# what the Makefile learns while it is read (musl-gcc, the libpython) may not be there before.

PACKAGES := $(SCRIPTS)/packages

.PHONY: demo test bench engines conformance-vm
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

# The daemons run in namespaces of their own, and end with them.
engines:
	$(PACKAGES) build engines
	$(MAKE) all
	conformance/engines/podman.sh --runtime $(BUILD)/pyrunc
	conformance/engines/containerd.sh --runtime $(BUILD)/pyrunc
	conformance/engines/docker.sh --runtime $(BUILD)/pyrunc

# Whole systems in virtual machines: SUITES="v1 systemd" runs these alone, PYRUNC_VM is where the image is kept.
conformance-vm:
	$(PACKAGES) build test vm
	$(MAKE) all extension $(VENV)/.test-ready
	conformance/vm/image.sh
	conformance/vm/suites.sh $(SUITES)

ifdef READY
$(VENV)/.test-ready: $(READY)
	$(VENV)/bin/python $(SCRIPTS)/install_group.py test
	touch $@
endif
