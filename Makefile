# Start with `make demo` or `make test`. Everything is installed in .venv, nothing outside it.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# More test processes than cores: tests wait for processes and deadlines half of their time.
JOBS ?= 4
MERMAID := 12.3.0
PYRIGHT := 1.1.414
LOCKED := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# Keep bytecode: tests and campaigns start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check bench chaos docs notebook lock clean

setup: .venv/.installed

# The stamp depends on the files that define the installation; the source is installed editable.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("serpline needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "serpline needs Python's venv module (on Debian: apt install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	$(BIN)/serpline demo $(ARGS)

test: setup
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/write_examples.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup .venv-bench/.installed
	$(BIN)/python -m bench $(ARGS)

# The other engines that the benchmark compares, in an environment of their own.
.venv-bench/.installed: bench/peers.lock
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/peers.lock
	@touch $@

# The reliability scorecard: under an hour. ARGS="--seed 7 --rows 3,14" repeats rows exactly.
chaos: setup
	$(BIN)/python -m chaos $(ARGS)

# The site of docs/, in build/site. A warning, such as a link that leads nowhere, is an error.
# pyright checks the programs on our pages, as mypy does in 'make check'.
docs: setup .venv-docs/.installed build/mermaid/mermaid.min.js
	$(BIN)/python tools/write_examples.py
	npm exec --yes --package=pyright@$(PYRIGHT) -- pyright
	.venv-docs/bin/sphinx-build --nitpicky --fail-on-warning --quiet -c tools/site docs build/site
	@echo "the first page is build/site/index.html"

.venv-docs/.installed: tools/site/requirements.lock
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/site/requirements.lock
	@touch $@

# Execute docs/notebook.ipynb on the project in SERPLINE_DATA_DIR and store what it shows.
notebook: .venv-notebook/.installed
	.venv-notebook/bin/python tools/run_notebook.py

.venv-notebook/.installed: tools/notebook.lock
	@test -x .venv-notebook/bin/python || $(PYTHON) -m venv .venv-notebook
	.venv-notebook/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/notebook.lock
	.venv-notebook/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# It draws the diagrams.
build/mermaid/mermaid.min.js:
	@command -v npm > /dev/null || { echo "make docs needs npm (on Debian: apt install npm)"; exit 1; }
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent mermaid@$(MERMAID) > /dev/null
	cd $(@D) && tar -xzf mermaid-$(MERMAID).tgz --strip-components=2 package/dist/$(@F) && rm mermaid-$(MERMAID).tgz

lock:
	uv pip compile $(LOCKED) --group dev pyproject.toml -o requirements.lock
	uv pip compile $(LOCKED) bench/peers.in -o bench/peers.lock
	uv pip compile $(LOCKED) tools/site/requirements.in -o tools/site/requirements.lock
	uv pip compile $(LOCKED) pyproject.toml tools/notebook.in -o tools/notebook.lock

clean:
	rm -rf .venv .venv-bench .venv-docs .venv-notebook build .mypy_cache .ruff_cache .pytest_cache
