# `make demo` and `make test` need Python 3.11 or newer, pip and a package index; nothing else.
PYTHON ?= python3
PIP = -m pip --disable-pip-version-check --quiet install -c constraints.txt
DEMO = .venv-demo
DEV = .venv-dev
SOURCES = pyproject.toml constraints.txt $(shell find cgiaa_cli models training -name '*.py' -o -path '*/default/*' -type f)

.PHONY: demo test lint clean

demo: $(DEMO)/installed ## rank the example photos with the embedded model
	$(DEMO)/bin/cgiaa rank examples/photos --top 10 --db $(DEMO)/demo.sqlite

test: $(DEV)/installed ## the whole test suite, with coverage of the run-time package
	$(DEV)/bin/python -m pytest -q --cov=cgiaa_cli --cov-report=term:skip-covered --cov-fail-under=90

lint: $(DEV)/installed ## style and types
	mkdir -p build/types
	ln -sfn ../../models build/types/cgiaa_models
	ln -sfn ../../training build/types/cgiaa_training
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

# not editable: what runs is what a user gets
$(DEMO)/installed: $(SOURCES)
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP) --force-reinstall --no-deps .
	$(DEMO)/bin/python $(PIP) '.[cpu]'
	touch $@

# editable: coverage and tests read the sources of this folder
$(DEV)/installed: pyproject.toml constraints.txt
	test -x $(DEV)/bin/python || $(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python $(PIP) -e '.[cpu,heif,raw,parquet,embed,watch,review,faces,train,dev]'
	touch $@

clean: ## remove both environments and what they cached
	rm -rf $(DEMO) $(DEV) build *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
