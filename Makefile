# `make lab` sets everything up in .venv and opens the first notebook; `make test` sets everything up and runs every test.
# Both pick up where they stopped: each step leaves a stamp in .venv/.stamps when it is done, and is done again only when
# what it depends on has changed. `make clean` removes all that make made.

PYTHON ?= python3
LAB_ARGS ?=
PYTEST_ARGS ?=
# pytest's processes; each keeps torch to one thread
TEST_WORKERS ?= 2
# the oldest Python that the package supports
OLDEST_PYTHON ?= python3.10

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
KERNELS := .kernels
KERNEL_VERSIONS := 6.31.0 7.3.0 7.4.0
EMBEDDING := @jupyter-widgets/html-manager@1.0.15 requirejs@2.3.8
# Not compiled: Python does that with what is imported, which is a small part of it.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile

# What the wheel is made of. The list itself is kept in a file that changes when a source comes or goes, so that a removed file
# rebuilds too.
SOURCES := $(shell find ganpaint_widget js -type f \
	-not -path '*/__pycache__/*' -not -path 'ganpaint_widget/static/*' -not -path 'js/tests/*' \
	-not -path '*/node_modules/*' -not -path 'js/dist/*' 2>/dev/null | LC_ALL=C sort) pyproject.toml README.md LICENSE package.json
SOURCE_LIST := $(STAMPS)/sources

ifeq ($(shell id -u),0)
ROOT_ARGS := --allow-root
endif

.PHONY: setup lab test test-all fuzz test-oldest check docs editor clean help FORCE
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo 'make lab     set up, and open JupyterLab on notebooks/01_paint.ipynb'
	@echo '             (add flags with LAB_ARGS, e.g. LAB_ARGS="--no-browser --port 9999")'
	@echo 'make test    set up, and run checks and tests, in a real browser too'
	@echo 'make test-all  the same with the heavy tests, such as running every lesson in a kernel'
	@echo 'make fuzz    repeat the property tests on random examples'
	@echo 'make test-oldest  test the wheel on OLDEST_PYTHON with the oldest dependencies (downloads gigabytes)'
	@echo 'make setup   only set up: .venv with the built wheel installed'
	@echo 'make check   lint, spelling, style and types'
	@echo 'make docs    build the documentation into docs/_build/html'
	@echo 'make editor  serve the editor in a bare page with a simulated kernel'
	@echo 'make clean   remove everything that make made'

# --- set-up ----------------------------------------------------------------------------------------------------

setup: $(STAMPS)/wheel

# The package.json in .venv is for the scripts that JupyterLab runs by Node: without one of their own, they would be
# read by the rules of the checkout's, which says that everything is an ES module.
define make_venv
$(PYTHON) -m venv --clear $(VENV) && mkdir -p $(STAMPS) && \
	echo '{"private": true, "type": "commonjs"}' > $(VENV)/package.json && touch $(STAMPS)/venv
endef

$(STAMPS)/venv:
	@tools/system.sh python '$(PYTHON)'
	@echo "==> setting up in $(VENV): about three minutes the first time, seconds from then on"
	@$(make_venv)

# A pip that is killed while it unpacks leaves packages that look installed and are not whole. So a file says that it is
# at work; if that file is still there the next time, .venv starts afresh. Where pip itself gives up, it has put
# things back, and the file goes. --prefer-binary: nothing is compiled where there is a wheel.
$(STAMPS)/packages: $(STAMPS)/venv pyproject.toml constraints.txt tools/install_torch.py tools/requirements.py
	@if [ -e $(STAMPS)/installing ]; then \
		echo "==> the last set-up was interrupted: starting $(VENV) afresh"; \
		$(make_venv); \
	fi
	@touch $(STAMPS)/installing
	@$(BIN)/python tools/install_torch.py constraints.txt || { rm $(STAMPS)/installing; exit 1; }
	@echo "==> JupyterLab, anywidget, matplotlib and the tools for building and testing (about a minute)"
	@$(BIN)/python tools/requirements.py lab course segmenter test bench docs dev > $(STAMPS)/requirements.txt
	@$(PIP) --prefer-binary --constraint constraints.txt --requirement $(STAMPS)/requirements.txt \
		|| { rm $(STAMPS)/installing; exit 1; }
	@rm $(STAMPS)/installing
	@touch $@

$(STAMPS)/node: $(STAMPS)/venv package.json package-lock.json
	@tools/system.sh node
	@echo "==> the front end's build tools by npm (seconds)"
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(SOURCE_LIST): FORCE | $(STAMPS)/venv
	@echo '$(SOURCES)' | tr ' ' '\n' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# No build isolation: the build's own requirements are in .venv already, pinned. npm has just built what the wheel takes in.
$(STAMPS)/wheel: $(STAMPS)/packages $(STAMPS)/node $(SOURCE_LIST) $(SOURCES)
	@echo "==> building the front end and the wheel, and installing it (seconds)"
	@npm run --silent build
	@rm -rf dist
	@HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(BIN)/python -m pip --disable-pip-version-check wheel --quiet \
		--no-deps --no-build-isolation --wheel-dir dist .
	@$(PIP) --no-deps --force-reinstall dist/*.whl
	@touch $@

# --- use -------------------------------------------------------------------------------------------------------

# A kernel specification of the same name in the home folder must not win over the environment's. The settings in
# tools/jupyterlab answer JupyterLab's question about news in advance: nothing is fetched.
lab: setup
	@echo "==> opening JupyterLab (seconds); Ctrl-C stops it"
	@JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab --notebook-dir=notebooks \
		--LabApp.app_settings_dir='$(CURDIR)/tools/jupyterlab' --LabApp.default_url=/lab/tree/01_paint.ipynb $(ROOT_ARGS) $(LAB_ARGS)

editor: $(STAMPS)/node
	@npm run --silent editor

# --- checks and tests ------------------------------------------------------------------------------------------

check: setup
	@echo "==> ruff"
	@$(BIN)/ruff check --quiet --output-format concise .
	@echo "==> codespell, and the style of the texts"
	@$(BIN)/codespell
	@$(BIN)/python tools/words.py
	@echo "==> mypy (about half a minute the first time)"
	@$(BIN)/mypy --no-error-summary
	@echo "==> import-linter: no room imports from above"
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports
	@echo "==> tsc and biome"
	@npm run --silent check

# Made anew each time: what a page shows is what the code does now.
docs: setup
	@echo "==> the documentation, with its pictures drawn afresh (about a minute)"
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --fresh-env --write-all docs docs/_build/html

$(STAMPS)/chromium: $(STAMPS)/packages tools/system.sh
	@VENV=$(VENV) tools/system.sh chromium
	@touch $@

# What an exported notebook loads from the network to show its widgets: the tests have it at hand. Packed, not installed:
# of each, one file is needed, and none of the 130 packages that it was built from.
$(STAMPS)/embedding: | $(STAMPS)/node
	@mkdir -p $(VENV)/embedding
	@for package in $(EMBEDDING); do \
		file=$$(npm pack --silent --pack-destination $(STAMPS) $$package) && \
		tar -xzf $(STAMPS)/$$file -C $(VENV)/embedding --strip-components=1 && rm $(STAMPS)/$$file || exit 1; \
	done
	@touch $@

$(STAMPS)/kernels: $(STAMPS)/packages tools/kernel_overlays.py
	@$(BIN)/python tools/kernel_overlays.py $(KERNELS) constraints.txt $(KERNEL_VERSIONS)
	@touch $@

# pytest runs inside tests/, so that a subprocess cannot import the source folder instead of the wheel.
# It comes last, so that its summary is the last line. `make test` leaves out tests marked heavy.
test test-all: setup $(STAMPS)/chromium $(STAMPS)/kernels $(STAMPS)/embedding check docs
	@echo "==> the front end's tests (seconds)"
	@npm run --silent test
	@echo "==> pytest on the installed wheel, JupyterLab in a browser included (minutes)"
	@cd tests && GANPAINT_KERNELS='$(CURDIR)/$(KERNELS)' ../$(BIN)/pytest --rootdir .. --config-file ../pyproject.toml \
		--numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder \
		$(if $(filter test-all,$@),,-m 'not heavy') $(PYTEST_ARGS)

# Hypothesis on random examples, of which `make test` tries the same each time.
fuzz: setup
	@cd tests && GANPAINT_HYPOTHESIS=fuzz ../$(BIN)/pytest --rootdir .. --config-file ../pyproject.toml \
		--numprocesses $(TEST_WORKERS) -m hypothesis $(PYTEST_ARGS)

# An environment of its own, in a temporary folder.
test-oldest: setup
	@$(BIN)/python tools/oldest.py dist/*.whl --python $(OLDEST_PYTHON)

clean:
	rm -rf $(VENV) $(KERNELS) dist node_modules ganpaint_widget/static
	rm -rf .mypy_cache .ruff_cache .pytest_cache tests/browser/shots docs/_build docs/lessons
