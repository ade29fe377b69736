# What people run: `make` builds, `make test` checks everything, `make demo` trains and prints a table.
#
# CMake does the building (CMakePresets.json); this file only strings commands together. Everything is repeatable, and
# needs root only where Debian packages are missing.
.PHONY: build setup test soak bench peers bench-torch gpu-bundle gpu-check lint format docs demo fuzz install package clean
.NOTPARALLEL:
JOBS ?= $(shell nproc)
PYTHON = .venv/bin/python
export CTEST_OUTPUT_ON_FAILURE = 1
export FUZZ_MINUTES ?= 10

# The program and what it links; the tests are built by `make test`.
build: setup
	cmake --preset default -DDROPKIT_TORCH=ON
	cmake --build --preset default -j $(JOBS) --target dropkit_cli

setup:
	./setup.sh

# One run of ctest covers the plain build, NEON's (tests/neon.cmake) and the sanitizers', so its last line counts every test.
test: build lint
	cmake --build --preset default -j $(JOBS)
	cmake --preset sanitize
	cmake --build --preset sanitize -j $(JOBS)
	cmake --preset tsan
	cmake --build --preset tsan -j $(JOBS)
	@DROPKIT_SANITIZED_TESTS="$(CURDIR)/build/sanitize;$(CURDIR)/build/tsan" ctest --preset default -j $(JOBS) --no-tests=error \
	  --output-junit $(CURDIR)/build/tests.xml; result=$$?; \
	$(PYTHON) tests/slowest.py build/tests.xml 10; exit $$result

# The program, both libraries of the core, and dropkit::nn.
PREFIX ?= /usr/local
install: build
	cmake --build --preset default -j $(JOBS) --target dropkit dropkit_shared dropkit_nn
	cmake --install build --prefix $(PREFIX)

# A Debian package of what needs no LibTorch.
package: build
	cmake --build --preset default -j $(JOBS) --target dropkit dropkit_shared
	umask 022; cpack --config build/CPackConfig.cmake -G DEB -B build/package

# Long checks; what passed is recorded in docs/soak.md. The cases are new ones each time,
# unless SOAK_SEED pins them.
SOAK_MINUTES ?= 30
SOAK_SEED ?=
soak: build
	$(PYTHON) tests/soak.py $(SOAK_MINUTES) $(SOAK_SEED)

# Every line of bench/cases.txt against a copy, on a machine that does nothing else: build/speed.md, and with WRITE=1
# docs/speed.md and the README's tables.
WRITE ?=
bench: build
	$(PYTHON) bench/speed.py $(if $(WRITE),--write)

# Other implementations beside this one, on a quiet machine; PEERS="--dtype bf16 --json FILE" are options of the script.
PEERS ?=
peers: setup
	cmake --preset default -DDROPKIT_TORCH=ON
	cmake --build --preset default -j $(JOBS) --target dropkit_shared dropkit_torch
	$(PYTHON) bench/peers.py $(PEERS)

# What the PyTorch package costs beside clones, nn.Dropout and a training step without it; PACKAGE="small resnet" are
# some of its sections.
PACKAGE ?=
bench-torch: setup
	cmake --preset default -DDROPKIT_TORCH=ON
	cmake --build --preset default -j $(JOBS) --target dropkit_torch
	$(PYTHON) bench/package.py $(PACKAGE)

# What a machine with a GPU needs and nothing else: build/gpu (docs/gpu.md).
gpu-bundle: setup
	$(PYTHON) bench/gpu_bundle.py --jobs $(JOBS)

# There, from the bundle alone, by that machine's Python: STEP is tests, sanitize, bench or peers.
STEP ?= tests
RESULTS ?= build/gpu-results
gpu-check:
	$(if $(filter command%,$(origin PYTHON)),$(PYTHON),python3) build/gpu/gpu_check.py --step $(STEP) --results $(RESULTS)

lint: setup
	$(PYTHON) tests/lint.py
	.venv/bin/ruff check --quiet --output-format concise
	$(PYTHON) tests/tidy.py

format: setup
	$(PYTHON) tests/lint.py --format

# The Python package's API is read from the package, which needs its operators.
docs: setup
	cmake --preset default -DDROPKIT_TORCH=ON
	cmake --build --preset default -j $(JOBS) --target dropkit_torch
	.venv/bin/sphinx-build -W -n -q -E -b html -d build/doctrees docs build/site
	@echo "The site starts at build/site/index.html"

demo: build
	build/dropkit train --task scenes --seeds 0 --methods none --methods none-10 --methods dropout@0.1 \
	  --methods spatial_dropout@0.1 --methods dropblock:block=7@0.1 --out out/demo
	@echo "One seed of part of the family. All of it, three seeds:"
	@echo "  build/dropkit train --task scenes --seeds 0,1,2 --out out/scenes"

# What is found stays in build/fuzz/found; FUZZ_MINUTES says how long, in all.
fuzz: setup
	cmake --preset default
	cmake --build --preset default -j $(JOBS) --target fuzzers
	tests/fuzz/run.sh build/fuzz

clean:
	rm -rf build out/demo
