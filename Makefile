# make quickstart    sets up .venv, then trains, scores and exports the default detector into runs/quickstart
# make test          sets up .venv with the test tools, then lints and tests
# make test PYTEST_ARGS='tests/geometry -k iou'
# make quickstart PYTHON=python3.12    picks the interpreter of a new .venv; without it a suitable one is looked for

PYTHON ?=
PYTEST_ARGS ?=
RUN := runs/quickstart
BIN := .venv/bin

CONSTRAINTS := requirements/constraints.txt
# The pinned pip comes first: older ones cannot pin what builds the two requirements that come as source.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint $(CONSTRAINTS)
INSTALL := $(PIP) pip && $(PIP) --build-constraint $(CONSTRAINTS) --editable
PINS := setup.py pyproject.toml $(CONSTRAINTS) requirements/make_venv.sh

.PHONY: quickstart test lint setup setup-test

quickstart: setup
	$(BIN)/tf-frozen train --gin_file quickstart.gin --model_dir $(RUN)

test: setup-test lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

setup: .venv/installed
setup-test: .venv/installed-test

# A stamp is written last, so that an installation cut short starts again.
.venv/installed: $(PINS)
	@bash requirements/make_venv.sh '$(PYTHON)'
	@echo 'Installing tf_frozen and its pinned requirements into .venv: some minutes, 3.2 GB on disk'
	$(INSTALL) .
	@touch $@

.venv/installed-test: $(PINS)
	@bash requirements/make_venv.sh '$(PYTHON)'
	@echo 'Installing tf_frozen, its pinned requirements and the test tools into .venv: some minutes, 3.2 GB on disk'
	$(INSTALL) '.[test]'
	@touch $@ .venv/installed
