# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Two commands matter, `make demo` and `make test`; the rest is their parts.

PYTHON ?= python3
VENV := .venv
LAYERS := lint build unit sanity kernel lab molecule

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test $(LAYERS) packages venv clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: venv ## Limit a real guest and a real uplink on a real host, and show declared, enforced and measured rates
	@$(VENV)/bin/python tests/demo/run.py

demo-down: ## Take the demo's host down
	@$(PYTHON) tests/lab/host.py down demo

test: venv ## Run everything that has to pass: all layers below
	@$(VENV)/bin/python tests/checks/run.py

lint: venv ## ruff, mypy, yamllint, ansible-lint, documentation, changelog and licence checks
build: venv ## Build the artefact, install it elsewhere, render its documentation
unit: venv ## The pure core, and libvirt's own test driver
sanity: venv ## ansible-test sanity
kernel: venv ## The modules against a real kernel's HFSC, in the kernel lab
lab: venv ## The labs themselves
molecule: venv ## The roles on a real Debian host with libvirt and a guest, in the host lab

$(LAYERS):
	@$(VENV)/bin/python tests/checks/run.py $@

packages: ## Install the Debian packages of tests/packages.txt that are missing (as root)
	@wanted=$$(grep -v '^#' tests/packages.txt); missing=; \
	for name in $$wanted; do \
	  dpkg-query -W -f '$${Status}' "$$name" 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$name"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing$$missing"; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi

venv: packages $(VENV)/.done ## Make the virtual environment

$(VENV)/.done: tests/requirements.txt
	@echo "Making the virtual environment (about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
	@mkdir -p $(VENV)/collections/ansible_collections/virtnet
	@ln -sfn "$(CURDIR)" $(VENV)/collections/ansible_collections/virtnet/qos
	@touch $@

clean: ## Remove what the above made in this directory
	rm -rf $(VENV) .cache .ansible .mypy_cache .ruff_cache virtnet-qos-*.tar.gz
