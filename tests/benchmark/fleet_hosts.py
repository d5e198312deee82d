# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated fleet: hosts with a libvirt and an uplink each.

A host's libvirt is the test driver with a definition of its own, ten guests with two NICs each, which have their
limits already: that driver's state lives in the process that asks it. A host with an uplink, ``near``, is a network
namespace of the kernel lab, and all that Ansible runs on it runs there (fleet_kernel.py); one without is here.
A host's Python is the system's, by a script that also notes what each run of it cost: that is every module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

GUESTS = {"db": "gold", "web": "silver"}  # five guests of each
VLANS = range(101, 121)  # one for each NIC
PYTHON = "/usr/bin/python3"  # Debian's, since it has Debian's python3-apt and python3-libvirt
PACKAGES = ["iproute2", "python3-libvirt", "python3-lxml", "python3-pyroute2"]
PROFILES = {
    "gold": {"inbound": {"average": "1gbit", "peak": "2gbit", "burst": "4MiB"}, "outbound": {"average": "1gbit"}},
    "silver": {"inbound": {"average": "100mbit"}, "outbound": {"average": "100mbit"}},
}
LIMITS = {  # the same for virsh and for libvirt's XML: kB/s and KiB
    "gold": {"inbound": "125000,250000,4096", "outbound": "125000"},
    "silver": {"inbound": "12500", "outbound": "12500"},
}


class Nic(NamedTuple):
    """A guest's NIC."""

    domain: str
    mac: str
    vlan: int
    profile: str


def nics() -> Iterator[Nic]:
    """Yield the NICs of a host, which are the same on every host."""
    each = ((kind, profile, number) for kind, profile in GUESTS.items() for number in range(5) for _nic in range(2))
    for (kind, profile, number), vlan in zip(each, VLANS):
        yield Nic(f"{kind}-{number}", f"52:54:00:0a:00:{vlan:02x}", vlan, profile)


def definition() -> str:
    """Return what the test driver reads: guests that run, and have the limits that the inventory wants."""
    domains: dict[str, str] = {}
    for nic in nics():
        limits = "".join(
            f"<{direction} {' '.join(map('{}={!r}'.format, ('average', 'peak', 'burst'), limit.split(',')))}/>"
            for direction, limit in LIMITS[nic.profile].items()
        )
        domains[nic.domain] = domains.get(nic.domain, "") + (
            f"<interface type='bridge'><mac address='{nic.mac}'/><source bridge='br{nic.vlan}'/>"
            f"<bandwidth>{limits}</bandwidth></interface>"
        )
    head = "<domain type='test'><name>{}</name><memory>65536</memory><os><type>hvm</type></os>"
    whole = head + "<devices>{}</devices></domain>"
    return f"<node>{''.join(whole.format(*domain) for domain in domains.items())}</node>\n"


def declared(uplink: bool) -> dict[str, Any]:
    """Return what the inventory says of all hosts. ``local`` is not a connection that could be lost."""
    classes = [{"vlan": vlan, "share": 5, "ul": "10gbit"} for vlan in VLANS]
    device = {"device": "near", "classes": [*classes, {"default": True, "share": 10}]}
    return {
        "prepare_packages": PACKAGES,
        "qos_profiles": PROFILES,
        "vm_qos_policies": [{"match": {"domain": f"{kind}-*"}, "profile": profile} for kind, profile in GUESTS.items()],
        "vm_qos_require_match": True,
        "host_qos_devices": [device] if uplink else [],
        "host_qos_confirm_timeout": 0,
        "host_qos_persistent": False,  # the kernel lab has no systemd
    }


class Spent(NamedTuple):
    """What the modules of some runs cost on the hosts."""

    runs: int
    processor: float


# Ansible gives its Python a module on standard input (pipelining).
SCRIPT = """\
#!/bin/sh
{run}
status=$?
times >>{times}
exit $status
"""
HANDED_ON = """\
job={jobs}/{name}-$$
cat >$job.in
printf '%s\\n' {name} {python} >$job.new
mv $job.new $job.job
until [ -e $job.status ]; do sleep 0.1; done
cat $job.out
cat $job.err >&2
status=$(cat $job.status)
rm $job.*
(exit $status)"""


class Hosts:
    """Some hosts in a folder, with an inventory of them; their names begin with ``prefix``."""

    def __init__(self, folder: Path, prefix: str, number: int, uplink: bool) -> None:
        self.folder, self.uplink, self._jobs = folder / prefix, uplink, folder / "jobs"
        self.names = [f"{prefix}{index:03}" for index in range(1, number + 1)]
        self.folder.mkdir()
        for name in self.names:
            self._file(name, "xml").write_text(definition(), encoding="ascii")
            self._write_python(name)

    def _file(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}"

    def _write_python(self, name: str) -> None:
        handed_on = HANDED_ON.format(jobs=self._jobs, name=name, python=PYTHON)
        script = SCRIPT.format(run=handed_on if self.uplink else f'{PYTHON} "$@"', times=self._file(name, "times"))
        python = self._file(name, "python")
        python.write_text(script, encoding="utf-8")
        python.chmod(0o755)

    def inventory(self) -> dict[str, Any]:
        """Return the inventory, each host with its own Python and libvirt."""
        hosts = {
            name: {
                "ansible_python_interpreter": str(self._file(name, "python")),
                "vm_qos_uri": f"test://{self._file(name, 'xml')}",
            }
            for name in self.names
        }
        always = {"ansible_connection": "local", "ansible_remote_tmp": str(self.folder / "tmp")}
        return {"all": {"hosts": hosts, "vars": {**always, **declared(self.uplink)}}}

    def spent(self) -> Spent:
        """Return what has been spent since the last time, a line of the shell's own and one of its children a run."""
        runs, processor = 0, 0.0
        for name in self.names:
            noted = self._file(name, "times")
            if noted.exists():
                lines = noted.read_text(encoding="ascii").splitlines()
                noted.unlink()
                runs += len(lines) // 2
                times = re.findall(r"(\d+)m([\d.]+)s", " ".join(lines))
                processor += sum(60 * int(minutes) + float(seconds) for minutes, seconds in times)
        return Spent(runs, processor)
