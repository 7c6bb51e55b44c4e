# make quickstart    sets up .venv, then trains, scores and exports the default detector into runs/quickstart
# make test          sets up .venv with the test tools, then lints and tests
# make test PYTEST_ARGS='tests/geometry -k iou'
# make quickstart PYTHON=python3.12    picks the interpreter of a new .venv; without it a suitable one is looked for

PYTHON ?=
PYTEST_ARGS ?=
RUN := runs/quickstart
BIN := .venv/bin

# Both for pip: the first pins what is installed (and, before pip 25.3, what builds it), the second what builds it.
export PIP_CONSTRAINT := requirements/constraints.txt
export PIP_BUILD_CONSTRAINT := requirements/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PINS := setup.py pyproject.toml requirements/constraints.txt

.PHONY: quickstart test lint setup setup-test

quickstart: setup
	$(BIN)/tf-frozen train --gin_file quickstart.gin --model_dir $(RUN)

test: setup-test lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

setup: .venv/installed
setup-test: .venv/installed-test

# A stamp is written last, so that an installation cut short starts again.
.venv/installed: $(PINS) requirements/make_venv.sh
	@bash requirements/make_venv.sh '$(PYTHON)'
	@echo 'Installing tf_frozen and its pinned requirements into .venv: some minutes, SIZE on disk'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-test: $(PINS) requirements/make_venv.sh
	@bash requirements/make_venv.sh '$(PYTHON)'
	@echo 'Installing tf_frozen, its pinned requirements and the test tools into .venv: some minutes, SIZE on disk'
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ .venv/installed
