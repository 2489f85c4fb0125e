# What is done with this project. `make demo` needs Python with venv and the network once; QEMU only for test and
# matrix, see tests/lab.
PYTHON = python3
BIN = .venv/bin
SOURCES = gcoretools tests examples
# How many tests run at a time: in the lab each may boot a machine, of one busy CPU and up to 2.5 GiB.
JOBS = 2
PYTEST = $(BIN)/pytest -n $(JOBS) --dist worksteal

.PHONY: demo venv lint test matrix bench

# From the crash dump in examples/ to a debugger's backtrace.
demo: venv
	@examples/demo

venv: .venv/.ready

.venv/.ready: pyproject.toml
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || \
	    { echo "$(PYTHON) cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

lint: venv
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)

# Everything, with the kernels that cover most: some minutes.
test: lint
	$(PYTEST) tests/unit tests/fixtures
	$(PYTEST) tests/lab

# Every kernel of the lab's table.
matrix: venv
	$(PYTEST) tests/lab --kernels all

# How long it takes, beside cp and the peers (drgn, crash) where they are installed.
bench: venv
	$(BIN)/python -m tests.bench
