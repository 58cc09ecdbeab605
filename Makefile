# What CI and people both run. `make check` and `make test` set up what they need, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: check test test-long lint format mutants mutate scan soak fuzz kills bench site dist clean

check: $(READY)                       ## the five backends against the exact oracle
	$(BIN)/multiconv check numpy torch jax tensorflow mxnet

test: lint                            ## lint, types and tests, every backend required
	$(BIN)/python -m pytest -n 2 --dist loadgroup -rs

test-long: lint                       ## the same with a thousand examples for each property
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -n 2 --dist loadgroup -rs --timeout 3600

lint: $(READY)                        ## style, types, docstrings, and that no module imports from a floor above its own
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy multiconv backends benchmarks
	$(BIN)/lint-imports
	$(BIN)/numpydoc lint $$(find multiconv backends -name '*.py' -not -path '*/data/*')

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(READY)                     ## which wrong convolutions are found by what: docs/kill-matrix.md
	$(BIN)/python benchmarks/kill_matrix.py

mutate: $(READY)                      ## small changes of the source that no fast test notices: docs/mutation.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[mutation]"
	$(BIN)/python benchmarks/mutation.py $(MODULES)

scan: $(READY)                        ## 100,000 small geometries on each backend, 15,000 on JAX; continues where it stopped
	$(BIN)/python benchmarks/scan.py

soak: $(READY)                        ## 100,000 drawn problems over the five; continues where it stopped
	$(BIN)/python benchmarks/soak.py

fuzz: $(READY)                        ## 20,000 hostile calls of every public method on each backend; continues where it stopped
	$(BIN)/python benchmarks/fuzz.py

kills: $(READY)                       ## 500 random kills and stops, after which nothing is left; continues where it stopped
	$(BIN)/python benchmarks/kills.py

RESULTS := benchmarks/results
TIMED := $(BIN)/multiconv bench numpy numpy+algorithm=fast torch
DEPTHWISE := $(foreach n,2 3 4 5 6 7 8 13 14,--layer "mobilenet_v1 conv$(n)/dw")

bench: $(READY)                       ## the figures that the README quotes, in some fifteen minutes
	$(BIN)/python benchmarks/overhead.py | tee $(RESULTS)/overhead.txt
	$(BIN)/python benchmarks/round_trip.py | tee $(RESULTS)/round_trip.txt
	$(BIN)/python benchmarks/import_time.py | tee $(RESULTS)/import_time.txt
	$(BIN)/python benchmarks/cost_against_size.py | tee $(RESULTS)/cost_against_size.txt
	mkdir -p build
	$(BIN)/multiconv bench --html build/laptop.html --json build/laptop.json | tee $(RESULTS)/laptop.txt
	$(TIMED) --rounds 3 --set resnet50 --set vgg19 --set single_channel --direction forward --batch 1 --batch 8 | tee $(RESULTS)/numpy_forward.txt
	$(TIMED) --rounds 3 --set resnet50 --set vgg19 --set single_channel --direction "input gradient" --direction "kernel gradient" --batch 1 | tee $(RESULTS)/numpy_gradients.txt
	$(TIMED) --rounds 9 $(DEPTHWISE) --direction forward --batch 1 --batch 8 | tee $(RESULTS)/numpy_depthwise.txt

dist: $(READY)                        ## wheel and sdist, installed in a fresh environment and tried there: dist/
	rm -rf dist build/installed
	$(BIN)/python -m build --quiet
	$(PYTHON) -m venv build/installed
	build/installed/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd build && installed/bin/multiconv check numpy

site: $(READY)                        ## the lessons, run, with an explorer and the API, as pages: build/site/index.html
	$(BIN)/python site/build.py

# NumPy, PyTorch, JAX and TensorFlow here; MXNet, which can't live with them, in an environment of its own.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[torch,jax,tensorflow,bench,lessons,site,dev]"
	$(BIN)/multiconv env create mxnet
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
