# Two commands do everything on a machine that has Python >= 3.11, make and a package index:
#   make demo    pull a sandbox API into PostgreSQL by Meltano, twice, and compare both sides
#   make test    all checks and tests
.POSIX:
.SUFFIXES:
PYTHON = python3
BIN = .venv/bin

.PHONY: demo test bench clean

demo: .venv/installed
	@$(BIN)/saasctl demo run

test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2

bench: .venv/installed
	$(BIN)/python tests/bench/run.py

.venv/installed: pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python '>=3.11' .venv && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@

clean:
	rm -rf .venv .meltano .tap-saas .pytest_cache .mypy_cache .ruff_cache .hypothesis
