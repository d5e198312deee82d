# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Two commands matter, `make demo` and `make test`; the rest is their parts.

PYTHON ?= python3
VENV := .venv
# ssh may bring a locale along that this machine does not have, and Ansible refuses to start then.
export LC_ALL := C.UTF-8
LAYERS := lint docs build unit sanity pythons cores kernel lab molecule host_qos host_qos_forky vm_qos_bookworm vm_qos_trixie vm_qos_forky

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test bench bench-confirm bench-fleet bench-vm measure-vm faults refusals $(LAYERS) packages venv clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: venv ## Limit a real guest and a real uplink on a real host, and show declared, enforced and measured rates
	@$(VENV)/bin/python tests/demo/run.py

demo-down: ## Take the demo's host down
	@$(PYTHON) tests/lab/host.py down demo

test: venv ## Run everything that has to pass: all layers below but those that are only by hand
	@$(VENV)/bin/python tests/checks/run.py

lint: venv ## ruff, mypy, yamllint, ansible-lint, documentation, changelog and licence checks
docs: venv ## The documentation site, in .cache/docs/html
build: venv ## Build the artefact, install it elsewhere, render its documentation, import it as Galaxy does
unit: venv ## The pure core, libvirt's own test driver, and roles, playbooks and pages on the controller
sanity: venv ## ansible-test sanity
pythons: venv ## ansible-test units with every Python that is here; only by hand
cores: venv ## ansible-test sanity and the tests of roles with the other releases of ansible-core; only by hand
kernel: venv ## The modules against a real kernel's HFSC, in the kernel lab
lab: venv ## The labs themselves
molecule: venv ## The day of a fleet: all playbooks on two real Debian hosts of different releases with a guest each, in the host lab
host_qos: venv ## Safe changes and reboots on two Debian releases, in the host lab
host_qos_forky: venv ## The same on testing; only by hand
vm_qos_bookworm: venv ## Policies over guests that come and go, networks under traffic, a daemon that hangs or asks for a password, on Debian 12
vm_qos_trixie: venv ## The same on Debian 13; only by hand
vm_qos_forky: venv ## The same on testing; only by hand

bench: venv ## How fast tc_hfsc_class and its trees are beside tc, in the kernel lab (about five minutes)
	@$(VENV)/bin/python tests/benchmark/tc_hfsc_class.py --json .cache/benchmark.json

bench-fleet: venv ## How a steady run of virtnet.qos.site over 200 hosts compares with loops of virsh and tc (an hour and a half)
	@$(VENV)/bin/python tests/benchmark/fleet.py --json .cache/benchmark_fleet.json

bench-confirm: venv ## What confirm_timeout costs, in the host lab (about five minutes)
	@$(VENV)/bin/python tests/benchmark/confirm.py --json .cache/benchmark_confirm.json

bench-vm: venv ## How fast virt_iface_bandwidth is over 1 000 NICs beside libvirt's calls and a loop of virsh, in the host lab (a quarter of an hour)
	@$(VENV)/bin/python tests/benchmark/virt_host.py --json .cache/benchmark_vm.json

measure-vm: venv ## Declared, enforced and measured rates of a real guest, also while they change, in the host lab (about ten minutes)
	@$(VENV)/bin/python tests/benchmark/guest_rates.py --json .cache/guest_rates.json

faults: venv ## What goes wrong while a change waits to be confirmed, and a table of what was found, in the host lab (about a quarter of an hour)
	@$(VENV)/bin/python -m pytest -v tests/faults -n 2 --dist each

refusals: venv ## Write docs/refusals.md and docs/bad-input.md anew, from what the module and the playbook answer
	@WRITE_REFUSALS=1 $(VENV)/bin/python -m pytest -q tests/unit/plugins/modules/test_refusals.py tests/controller/test_bad_input.py

$(LAYERS):
	@$(VENV)/bin/python tests/checks/run.py $@

packages: ## Install the Debian packages of tests/packages.txt that are missing (as root)
	@wanted=$$(grep -v '^#' tests/packages.txt); missing=; \
	for name in $$wanted; do \
	  dpkg-query -W -f '$${Status}' "$$name" 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$name"; \
	done; \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "Missing packages; run this as root: apt-get install$$missing" >&2; exit 1; }; \
	  echo "Installing$$missing"; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi

# A virtual environment knows its place: one that was copied or moved with its checkout is made anew.
venv: packages ## Make the virtual environment
	@[ "$$(cat $(VENV)/.done 2>/dev/null)" = "$(CURDIR)" ] || rm -rf $(VENV)
	@$(MAKE) --no-print-directory $(VENV)/.done

$(VENV)/.done: tests/requirements.txt
	@echo "Making the virtual environment (about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
	@for version in 0.7.2 0.8.1; do \
	  $(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps --target $(VENV)/pyroute2-$$version pyroute2==$$version || exit 1; \
	done
	@$(PYTHON) -m venv $(VENV)/importer
	@$(VENV)/importer/bin/python -m pip install -q --disable-pip-version-check 'galaxy-importer>=0.4.44,<0.5'
	@$(VENV)/bin/python tests/checks/awx_collection.py
	@mkdir -p $(VENV)/collections/ansible_collections/virtnet
	@ln -sfn ../../../.. $(VENV)/collections/ansible_collections/virtnet/qos
	@echo "$(CURDIR)" > $@

clean: ## Remove what the above made in this directory
	rm -rf $(VENV) .cache .ansible .mypy_cache .ruff_cache virtnet-qos-*.tar.gz
