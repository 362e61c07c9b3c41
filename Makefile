# Two commands do everything on a machine that has Python >= 3.11, make and a package index:
#   make demo    pull a sandbox API into PostgreSQL by Meltano, twice, and compare both sides
#   make test    all checks and tests
# uv is used where there is one. requirements.lock holds the versions that were tested.
.POSIX:
.SUFFIXES:
PYTHON = python3
BIN = .venv/bin

.PHONY: demo test chaos soak bench footprint lock reference clean

demo: .venv/demo
	@$(BIN)/saasctl demo run

test: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --ignore tests/chaos
	$(BIN)/python -m pytest tests/chaos -s

chaos: .venv/dev
	$(BIN)/python -m pytest tests/chaos -s

# SOAK_KILLS=300 SOAK_MINUTES=60 unless said; where anything differs, the folder with states and outputs is named.
soak: .venv/dev
	$(BIN)/python -m pytest tests/chaos/soak.py -s

bench: .venv/dev
	$(BIN)/python tests/bench/run.py

footprint: .venv/dev
	PYTHONPATH=tests $(BIN)/python tests/bench/footprint.py

.venv/demo .venv/dev: pyproject.toml requirements.lock
	@echo "installing the extra $(@F) into .venv ..."
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python '>=3.11' .venv && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -c requirements.lock -e '.[$(@F)]'; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[$(@F)]'; \
	fi
	@$(BIN)/python -m compileall -q tap_saas target_config
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  pyproject.toml -o requirements.lock

reference: .venv/dev
	$(BIN)/saasctl schema --markdown > docs/language.md

clean:
	rm -rf .venv .meltano .tap-saas .pytest_cache .mypy_cache .ruff_cache .hypothesis
