# Two commands are all one needs:
#   make demo    an environment, the package with its pages, an assistant built from nothing, served on this machine
#   make test    an environment, and every check and test
# Both install once: as long as pyproject.toml, constraints.txt and the sources of the pages stay as they are, a second
# call installs nothing and needs no network.

.DEFAULT_GOAL := help
.PHONY: help demo test lint web-test clean env-serve env-dev
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
PAGES := src/chatwright/product/static/index.html
# More arguments for `chatwright demo` and for pytest: make demo ARGS="--preset tiny"; make test PYTEST="-k store"
ARGS ?=
PYTEST ?=
WORKERS ?= 2

# The newest supported Python that can make environments; empty where there is none.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

# A checksum over everything an installation depends on; part of the name of the stamp that is written after it.
SOURCES = $(shell { cat pyproject.toml constraints.txt hatch_build.py; \
	find web -name node_modules -prune -o -name dist -prune -o -type f ! -name '*.test.*' -print \
	| LC_ALL=C sort | while read -r f; do echo "$$f"; cat "$$f"; done; } | cksum | tr ' ' '-')

help:
	@sed -n '2,3s/^# *//p' Makefile

demo: env-serve
	@$(BIN)/chatwright demo $(ARGS)

test: env-dev lint web-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST)

lint: env-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/lint-imports

# Types and unit tests of the pages; their packages are fetched once per change of the lock file.
WEB_STAMP = web/node_modules/.installed-$(shell cat web/package.json web/package-lock.json | cksum | tr ' ' '-')
web-test:
	@if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
		echo "the tests of the pages are left out: there is no Node 20 or newer on this machine"; \
		test -z "$$CHATWRIGHT_CI"; exit; fi; \
	set -e; cd web; \
	if [ ! -f "../$(WEB_STAMP)" ]; then npm ci --no-audit --no-fund --ignore-scripts; touch "../$(WEB_STAMP)"; fi; \
	npm run --silent check; npm run --silent test

env-serve:
	@$(call install,serve,serve dev)

env-dev:
	@$(call install,dev,dev)

# $(call install,extra,extras whose stamp will do): nothing where such a stamp stands. An installation that was cut off
# leaves the mark `.installing` in the environment, which is then made anew, since pip may have left half a package.
define install
set -e; \
for extra in $(2); do \
	if [ -f "$(VENV)/.installed-$$extra-$(SOURCES)" ] && [ -f "$(PAGES)" ] && "$(BIN)/python" -c '' 2>/dev/null; then \
		exit 0; fi; done; \
if [ -z "$(PYTHON)" ]; then \
	echo "Chatwright needs Python 3.11 or newer with the venv module, and none was found; install one" \
		"(Debian and Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1; fi; \
if [ -f "$(VENV)/.installing" ] || ! "$(BIN)/python" -c 'import pip' 2>/dev/null; then \
	echo "making an environment in $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv --clear "$(VENV)"; fi; \
touch "$(VENV)/.installing"; rm -f "$(VENV)"/.installed-*; \
echo "installing Chatwright [$(1)] into $(VENV)"; \
"$(BIN)/python" -m pip install --disable-pip-version-check -c constraints.txt -e ".[$(1)]"; \
rm "$(VENV)/.installing"; touch "$(VENV)/.installed-$(1)-$(SOURCES)"
endef

# Everything that can be made again. What was built and trained stays in .chatwright.
clean:
	rm -rf $(VENV) build dist web/node_modules web/dist src/chatwright/product/static
	rm -rf .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
