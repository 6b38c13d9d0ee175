# Everything that people and CI run. `make` alone lists the targets.

VENV := .venv
INSTALLED := $(VENV)/.installed
DIRECTOR := src/pltfrms/drivers/balancer/director/director.bpf.o
PAGE := src/pltfrms/page/index.html
READY := $(INSTALLED) $(DIRECTOR)
PLTFRMS := $(VENV)/bin/pltfrms
EXAMPLE := examples/three-datacenters

.DEFAULT_GOAL := help
.PHONY: help up shop down setup postgres page docs test check bench wheel deb clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort \
		| awk -F '\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

up: $(READY) $(PAGE) ## Start the example: three datacenters and an internet on this machine
	@scripts/as-root $(PLTFRMS) lab up $(EXAMPLE)

shop: up ## Start the example, and a small shop in it: docs/shop.md
	@scripts/as-root examples/shop/shop up

down: $(INSTALLED) ## End the example; nothing of it stays
	@if scripts/as-root $(PLTFRMS) lab list --json | grep -q '"$(notdir $(EXAMPLE))"'; then \
		scripts/as-root $(PLTFRMS) lab down --lab $(notdir $(EXAMPLE)); \
	else echo '$(notdir $(EXAMPLE)) does not run'; fi

setup: $(READY) $(PAGE) ## Install what is missing: Debian packages, Python environment, page

$(INSTALLED): requirements/dev.txt pyproject.toml scripts/install
	@scripts/install

# In this order: the first brings the compiler.
$(DIRECTOR): $(wildcard $(dir $(DIRECTOR))*.[ch]) scripts/compile-director | $(INSTALLED)
	@scripts/compile-director

postgres: $(INSTALLED) ## Make what databases in labs need beside PostgreSQL, on this machine
	@scripts/as-root scripts/make-postgres /

page: ## Build the page that `pltfrms ui` serves
	@scripts/build-page

# A machine without Node.js has no page; all else works there.
$(PAGE): $(wildcard page/*.* page/src/*)
	@scripts/build-page --if-possible

docs: $(INSTALLED) ## Build the documentation as a site with search, in build/site
	@scripts/build-docs

test: $(READY) $(PAGE) ## Run all tests: fast ones, those that need root, then whole labs
	@scripts/test

check: $(READY) ## Check style, types, layers, requirement files, page and documentation
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@scripts/check-page
	@scripts/build-docs
	@if grep -nE '://|--(extra-)?index-url|--find-links' requirements/*; then \
		echo 'requirements/ must not name hosts'; exit 1; fi

bench: $(READY) ## Measure: how fast clients are served again after each fault
	@for script in $$(grep -l __main__ bench/*.py); do scripts/as-root $(VENV)/bin/python "$$script" || exit 1; done

wheel: $(READY) $(PAGE) ## Build dist/pltfrms-VERSION-py3-none-any.whl
	@$(VENV)/bin/python -m hatchling build -t wheel

deb: $(READY) $(PAGE) ## Build the Debian package for this machine's Python, in dist/
	@scripts/build-deb

clean: ## Remove the Python environment and everything that was generated
	rm -rf $(VENV) $(DIRECTOR) $(dir $(PAGE)) page/node_modules build dist .hypothesis .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
