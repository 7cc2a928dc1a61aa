# SPDX-License-Identifier: Apache-2.0
# `make` builds build/pyrunc. What each step does is in csrc/build/, one script a step.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build
GEN := $(BUILD)/gen
VENV := $(BUILD)/venv
# The Python that runs the build scripts and has cffi; a PEP 517 build gives its own.
BUILD_PYTHON ?= $(VENV)/bin/python
SCRIPTS := csrc/build

CC ?= gcc
OPTIMIZE ?= -O2
comma := ,
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
CFLAGS_ALL := -std=gnu11 $(OPTIMIZE) -g -fvisibility=hidden $(CFLAGS)
MUSL_CC := $(shell command -v musl-gcc)
# Kernel headers come from the system's directories, behind musl's own.
INIT_CC := $(if $(MUSL_CC),$(MUSL_CC) -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch),$(CC))

EXECUTABLE_SOURCES := csrc/main.c csrc/frozen_import.c csrc/snapshot.c
SHIM_SOURCES := $(filter-out $(EXECUTABLE_SOURCES),$(wildcard csrc/*.c))
INIT_SOURCES := $(wildcard csrc/init/*.c)
HEADERS := $(wildcard csrc/*.h csrc/init/*.h)
PACKAGE := runtime/pyrunc
CONSTANTS := $(PACKAGE)/shim/constants.py

.PHONY: all
all: $(BUILD)/pyrunc

# The build's own tools ---------------------------------------------------------------------------------

ifeq ($(BUILD_PYTHON),$(VENV)/bin/python)
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(SCRIPTS)/install_group.py build
	touch $@
READY := $(VENV)/.ready
endif

$(GEN)/python.mk: $(SCRIPTS)/python_mk.py $(READY)
	@mkdir -p $(GEN)
	$(BUILD_PYTHON) $(SCRIPTS)/python_mk.py >$@

# The goals of goals.mk install what this needs, and make again.
ifneq ($(filter-out clean uninstall demo test bench engines podman runtime-tools conformance conformance-vm trace-viewer,$(or $(MAKECMDGOALS),all)),)
-include $(GEN)/python.mk
endif

$(BUILD)/cffi/.ready: $(SCRIPTS)/cffi.txt | $(READY)
	rm -rf $(BUILD)/cffi && mkdir -p $(BUILD)/cffi
	$(BUILD_PYTHON) -m pip download -q --no-deps --no-binary :all: --require-hashes -r $< -d $(BUILD)/cffi
	tar -xzf $(BUILD)/cffi/cffi-*.tar.gz -C $(BUILD)/cffi --strip-components=1
	touch $@

$(BUILD)/cold/.ready: $(SCRIPTS)/cold.txt | $(READY)
	rm -rf $(BUILD)/cold
	$(BUILD_PYTHON) -m pip install -q --no-deps --no-compile --require-hashes -r $< --target $(BUILD)/cold \
	    --only-binary :all: --platform any --implementation py --abi none
	touch $@

# Generated sources -------------------------------------------------------------------------------------

$(GEN)/shim_ffi.c: csrc/shim.h $(SCRIPTS)/shim_ffi.py $(GEN)/python.mk
	$(BUILD_PYTHON) $(SCRIPTS)/shim_ffi.py csrc/shim.h $@
	@touch $@

$(GEN)/constants: csrc/constants.txt csrc/kernel_compat.h csrc/shim.h $(SCRIPTS)/constants.py $(GEN)/python.mk
	$(BUILD_PYTHON) $(SCRIPTS)/constants.py csrc/constants.txt csrc/shim.h $@.c
	$(CC) -w -Icsrc -o $@ $@.c

$(CONSTANTS): $(GEN)/constants
	$< >$@.new && mv $@.new $@

GENERATED_CHECK := $(PACKAGE)/spec/check_generated.py $(PACKAGE)/spec/schema_generated.py

$(GENERATED_CHECK) &: $(wildcard spec-fixtures/schema/*.json) spec-fixtures/compile_check.py $(READY)
	$(BUILD_PYTHON) spec-fixtures/compile_check.py spec-fixtures/schema $(PACKAGE)/spec

.PHONY: generated
generated: $(CONSTANTS) $(GENERATED_CHECK) $(GEN)/shim_ffi.c

# Written only when it changes, so that a build without a new commit freezes nothing anew.
.PHONY: FORCE
$(GEN)/commit: FORCE
	@mkdir -p $(GEN)
	@git rev-parse HEAD 2>/dev/null >$@.new || : >$@.new
	@cmp -s $@.new $@ || mv $@.new $@; rm -f $@.new

PACKAGE_SOURCES := $(shell find $(PACKAGE) -name '*.py') $(CONSTANTS) $(GENERATED_CHECK)

$(GEN)/frozen.c: $(PACKAGE_SOURCES) $(GEN)/commit $(SCRIPTS)/freeze.py $(SCRIPTS)/slim.py $(SCRIPTS)/hot_modules.txt $(wildcard $(SCRIPTS)/frozen/*/*.py) $(GEN)/python.mk
	$(BUILD_PYTHON) $(SCRIPTS)/freeze.py --source runtime --commit "$$(cat $(GEN)/commit)" --output $(GEN)

$(GEN)/cold.zip: $(SCRIPTS)/cold_zip.py $(BUILD)/cold/.ready $(GEN)/python.mk
	$(BUILD_PYTHON) $(SCRIPTS)/cold_zip.py --cold $(BUILD)/cold --linking $(if $(PY_STATIC),static,shared) --output $@

# pyrunc-init -------------------------------------------------------------------------------------------

$(BUILD)/pyrunc-init: $(INIT_SOURCES) $(HEADERS) Makefile
	@mkdir -p $(BUILD)
	$(if $(MUSL_CC),,@echo "musl-gcc is missing: pyrunc-init is linked with glibc and 30 times larger" >&2)
	$(INIT_CC) -std=gnu11 -Os -static $(WARNINGS) -ffunction-sections -fdata-sections -Wl,--gc-sections \
	    -fno-asynchronous-unwind-tables -Wl,-z,noexecstack -Wl,-z,noseparate-code -s -Icsrc -o $@ $(INIT_SOURCES)

# Objects: static for the executable, position-independent for the extension ------------------------------

STATIC_OBJECTS := $(SHIM_SOURCES:csrc/%.c=$(BUILD)/static/%.o)
PIC_OBJECTS := $(SHIM_SOURCES:csrc/%.c=$(BUILD)/pic/%.o)
INCLUDES := -Icsrc $(PY_CFLAGS)

$(BUILD)/static/%.o: csrc/%.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fno-pie $(WARNINGS) -Icsrc -DINIT_IMAGE='"$(BUILD)/pyrunc-init"' -c -o $@ $<

$(BUILD)/pic/%.o: csrc/%.c $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fPIC $(WARNINGS) -Icsrc -DINIT_IMAGE='"$(BUILD)/pyrunc-init"' -c -o $@ $<

$(BUILD)/static/init_image.o $(BUILD)/pic/init_image.o: $(BUILD)/pyrunc-init

$(EXECUTABLE_SOURCES:csrc/%.c=$(BUILD)/static/%.o): $(BUILD)/static/%.o: csrc/%.c $(HEADERS) Makefile $(GEN)/python.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fno-pie $(WARNINGS) $(INCLUDES) $(MAIN_DEFINES) -c -o $@ $<

$(BUILD)/static/frozen.o: $(GEN)/frozen.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fno-pie $(WARNINGS) $(INCLUDES) -c -o $@ $<

# Not our source: its warnings are not ours to mend.
$(BUILD)/static/shim_ffi.o: $(GEN)/shim_ffi.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fno-pie -w $(INCLUDES) -c -o $@ $<

$(BUILD)/pic/shim_ffi.o: $(GEN)/shim_ffi.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fPIC -w $(INCLUDES) -c -o $@ $<

$(BUILD)/static/cffi_backend.o: $(BUILD)/cffi/.ready $(GEN)/python.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fno-pie -w -DFFI_BUILDING=1 -DUSE__THREAD=1 -I$(BUILD)/cffi/src/c $(INCLUDES) \
	    -c -o $@ $(BUILD)/cffi/src/c/_cffi_backend.c

# The executable ----------------------------------------------------------------------------------------

# glibc warns that name services and dlopen need its shared libraries; pyrunc uses neither. Linkers before
# binutils 2.40 cannot be told so.
LINK_QUIET := $(if $(shell ld --help 2>/dev/null | grep -e --no-warnings),-Wl$(comma)--no-warnings)

ifneq ($(PY_STATIC),)
MAIN_DEFINES := -DPYRUNC_STATIC_PYTHON
LINK := -static -no-pie $(PY_STATIC)
else
MAIN_DEFINES := -DPYRUNC_STDLIB='"$(PY_STDLIB)"' -DPYRUNC_DYNLOAD='"$(PY_DYNLOAD)"'
LINK := -no-pie $(PY_SHARED)
endif

# snapshot.c has the memory of Python where it can be written down.
ifneq ($(PY_SNAPSHOT),)
MAIN_DEFINES += -DPYRUNC_SNAPSHOT
SNAPSHOT_OBJECT := $(BUILD)/static/snapshot.o
LINK += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc free PyThread_get_thread_ident) -Wl,-Map=$(BUILD)/pyrunc.map
endif

$(BUILD)/pyrunc: $(STATIC_OBJECTS) $(SNAPSHOT_OBJECT) $(addprefix $(BUILD)/static/,main.o frozen_import.o frozen.o shim_ffi.o cffi_backend.o) $(GEN)/cold.zip $(SCRIPTS)/snapshot.py
	$(if $(PY_STATIC),,@echo "no static libpython with its modules here: linking the shared one, the result needs this Python and starts slower" >&2)
	$(CC) -o $@.new $(filter %.o,$^) -Wl,--gc-sections $(LINK_QUIET) $(LINK) -lffi -lseccomp $(PY_SYSTEM_LIBS) -pthread
	$(if $(KEEP_SYMBOLS),,strip -s $@.new)
	$(if $(PY_SNAPSHOT),$(BUILD_PYTHON) $(SCRIPTS)/snapshot.py --executable $@.new --map $(BUILD)/pyrunc.map)
	cat $(GEN)/cold.zip >>$@.new
# Written in one go, the file lies in the page cache in large folios, which every fault maps as a whole: up to
# 3 MB more of resident memory than in pieces of this size (Linux 6.18, ext4).
	dd if=$@.new of=$@.out bs=64k status=none
	chmod 0755 $@.out
	rm -f $@.new
	mv $@.out $@

# The extension module, for an ordinary interpreter -------------------------------------------------------

EXTENSION := $(BUILD)/ext/_pyrunc_shim$(PY_EXT_SUFFIX)

.PHONY: extension
extension: $(EXTENSION) generated

$(EXTENSION): $(PIC_OBJECTS) $(BUILD)/pic/shim_ffi.o
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ -lseccomp -pthread

# Checking ----------------------------------------------------------------------------------------------

PYTHON_TREES := runtime csrc/build tests conformance spec-fixtures
C_FILES = $(wildcard csrc/*.[ch] csrc/init/*.[ch] tests/*/*.[ch])

$(VENV)/.dev: pyproject.toml $(READY)
	$(VENV)/bin/python $(SCRIPTS)/install_group.py dev
	@touch $@

# The environment of the tests: build/venv with pytest, build/pyrunc, and the extension for unit tests.
.PHONY: test-tools unit check format
test-tools: $(VENV)/.dev all extension

unit: test-tools
	PYTHONPATH=runtime:$(BUILD)/ext $(VENV)/bin/python -m pytest -q tests/unit

check: $(VENV)/.dev generated
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python conformance/report.py --check
	$(VENV)/bin/mypy runtime/pyrunc
	$(VENV)/bin/mypy $(filter-out %/install_group.py,$(wildcard $(SCRIPTS)/*.py))
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)
	@mkdir -p $(BUILD)/analyzed
	@for file in $(INIT_SOURCES) $(SHIM_SOURCES) $(EXECUTABLE_SOURCES); do \
	    echo "$(CC) -fanalyzer $$file"; \
	    $(CC) $(CFLAGS_ALL) $(WARNINGS) -fanalyzer $(INCLUDES) -DINIT_IMAGE='"LICENSE"' -c -o $(BUILD)/analyzed/object.o $$file || exit 1; \
	done

format: $(VENV)/.dev
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(C_FILES)

# Installing --------------------------------------------------------------------------------------------

.PHONY: install uninstall clean
install: $(BUILD)/pyrunc
	install -D -m 0755 $(BUILD)/pyrunc $(DESTDIR)$(PREFIX)/bin/pyrunc

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/pyrunc

clean:
	rm -rf $(BUILD) $(CONSTANTS) $(GENERATED_CHECK)

include $(SCRIPTS)/goals.mk
