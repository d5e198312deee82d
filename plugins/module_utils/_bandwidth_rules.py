# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What libvirt would refuse, ignore, or write and not be able to read back: told before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    CLEAR,
    DIRECTIONS,
    NO_BANDWIDTH,
    RATES,
    UNLIMITED,
    Bandwidth,
    Wanted,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Network, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._units import RATE

# virNetDevSupportsBandwidth in src/conf/netdev_bandwidth_conf.c. For others libvirt only logs a warning, and the
# guest runs unshaped while its XML shows the limit.
SHAPED_TYPES = ("network", "bridge", "direct", "ethernet")
_INSTEAD = {
    "user": "attach the NIC to a network or a bridge",
    "vhostuser": "limit the port in the virtual switch (in Open vSwitch: ingress_policing_rate and egress-policer)",
    "hostdev": "limit the virtual function on the host (ip link set DEVICE vf NUMBER max_tx_rate)",
    "vdpa": "limit the device on the host",
}
# networkCheckBandwidth in src/network/bridge_driver.c: the guarantee is a class on the bridge of the network.
_FLOOR_FORWARDS = ("none", "nat", "route", "open")


@dataclass(frozen=True)
class Problem:
    """Why a NIC cannot have what is wanted; the NIC is the subject of the predicate."""

    option: str
    value: str | None
    predicate: str
    remedy: str

    @property
    def of_nic(self) -> bool:
        """Whether the NIC itself is the problem, whatever is wanted of it."""
        return self.option == "interface"


@dataclass(frozen=True)
class Case:
    """One NIC in one scope, its network, and what is wanted of it."""

    scope: str
    nic: Nic
    network: Network | None
    wanted: Wanted
    write: Write
    policer_stays: bool

    @property
    def kind(self) -> str:
        """The type that the NIC turns out to be."""
        return plugged(self.nic, self.network).type

    @property
    def given(self) -> Bandwidth:
        """What its portgroup gives the NIC while it has nothing of its own."""
        if self.scope == "live" and self.write.before.unlimited:
            return self.nic.shown
        return self.network.given_to(self.nic) if self.network else NO_BANDWIDTH

    @property
    def left_policed(self) -> str | None:
        """The direction whose policer would stay on the device though it loses its limit; None where none would."""
        policed = self.nic.policed
        if self.scope == "config" or not self.policer_stays or not policed or not self.write.directions:
            return None
        loses = self.write.after[policed].unlimited and not self.nic.shown[policed].unlimited
        return policed if loses else None

    @property
    def renew(self) -> bool:
        """Whether a NIC of the running guest has to be plugged anew for what is wanted of it."""
        given_back = self.wanted.absent and bool(self.write.directions) and not self.given.unlimited
        return self.scope == "live" and (given_back or self.left_policed is not None)


def plugged(nic: Nic, network: Network | None) -> Nic:
    """Return a NIC as a running guest has it."""
    return network.plugged(nic) if network else nic


def settled(nic: Nic, network: Network | None, wanted: Wanted) -> bool:
    """Whether there is nothing to say of a NIC that has what is wanted. That is the usual case by far.

    Not so where nothing is limited, since that may be the portgroup's to say, and where a floor is promised.
    """
    if wanted.absent:
        return True
    floor = wanted.limits.get("inbound", UNLIMITED).floor
    return not floor and not nic.own.unlimited and plugged(nic, network).type in SHAPED_TYPES


def beyond_reach(nic: Nic, wanted: Wanted) -> bool:
    """Whether a limit is to be taken from a NIC of a type that libvirt neither limits nor takes a limit from."""
    return wanted.clears and nic.type not in SHAPED_TYPES


def problems_of(case: Case) -> Iterator[Problem]:
    """Yield why the NIC cannot have what is wanted of it."""
    for check in (_type_problems, _floor_problems, _portgroup_problems, _renewal_problems):
        yield from check(case)


def _type_problems(case: Case) -> Iterator[Problem]:
    if case.kind not in SHAPED_TYPES and not case.wanted.clears:
        remedy = _INSTEAD.get(case.kind, f"use a NIC of type {', '.join(SHAPED_TYPES)}")
        yield Problem("interface", case.nic.mac, f"is of type {case.kind}, which libvirt does not limit", remedy)


def _floor_problems(case: Case) -> Iterator[Problem]:
    """Where one of these does not hold, libvirt writes a definition that it cannot read back."""
    floor = case.wanted.limits.get("inbound", UNLIMITED).floor
    if not floor or case.kind not in SHAPED_TYPES:
        return
    network = case.network
    on = f"is on network '{case.nic.network}'"
    remedy = "drop the floor, or attach the NIC to a virtual network that has an inbound average"
    if case.nic.network is None:
        predicate = f"is of type {case.kind}, and a floor needs type network"
    elif network is None:
        predicate = f"{on}, which does not exist, and a floor needs the network"
    elif network.forward not in _FLOOR_FORWARDS:
        predicate = f"{on} with forward mode {network.forward}, and a floor needs {', '.join(_FLOOR_FORWARDS)}"
    elif not network.bandwidth.inbound.average:
        predicate = f"{on}, which has no inbound average, and a floor needs one"
        remedy = (
            "set one on the network first (one that runs without it has to be restarted for that), or drop the floor"
        )
    elif floor > network.bandwidth.inbound.cap:
        predicate = f"{on}, which has only {RATE.format(network.bandwidth.inbound.cap, RATES)} inbound to share out"
        remedy = "lower the floor, or raise the network's inbound average"
    else:
        return
    yield Problem("inbound.floor", RATE.format(floor, RATES), predicate, remedy)


def _portgroup_problems(case: Case) -> Iterator[Problem]:
    """A NIC without a bandwidth of its own has its portgroup's; with one, it has nothing of the portgroup's."""
    before, after = case.write.before, case.write.after
    if case.wanted.absent or case.kind not in SHAPED_TYPES:
        return
    for direction in (direction for direction in DIRECTIONS if not case.given[direction].unlimited):
        limit = ", ".join(f"{name}: {value}" for name, value in case.given[direction].text().items())
        gets = f"is given {direction} {{{limit}}} by its portgroup"
        if after.unlimited and not before.unlimited and direction not in case.wanted.limits:
            remedy = "give the NIC a limit of its own in some direction, or use state=absent if that is meant"
            predicate = f"{gets} as soon as it has nothing of its own, though {direction} is not named"
            yield Problem(direction, None, predicate, remedy)
        elif case.scope == "live" and not before.unlimited:
            pass  # what the portgroup would give to such a running guest comes back only with a restart
        elif after.unlimited and direction in case.wanted.limits:
            remedy = "change the portgroup, or give the NIC a limit of its own in some direction"
            predicate = f"{gets}, from which a NIC cannot be exempted"
            yield Problem(f"{direction}.average", CLEAR, predicate, remedy)
        elif before.unlimited and not after.unlimited and direction not in case.wanted.limits:
            remedy = f"name {direction} too, with that value to keep it or with average={CLEAR} to give it up"
            predicate = f"{gets}, which a limit of its own takes away in both directions"
            yield Problem(direction, None, predicate, remedy)


def _renewal_problems(case: Case) -> Iterator[Problem]:
    """Plugging a NIC anew is of no use in a pool of macvtaps, nor where the portgroup puts a policer on again."""
    if case.renew and case.nic.type == "direct" and case.nic.network:
        # qemuDomainChangeNet keeps the device of the pool, and with it the bandwidth it had; it reports success.
        predicate = f"is a macvtap of network '{case.nic.network}', whose limit libvirt does not take off while it runs"
        yield Problem("interface", case.nic.mac, predicate, "shut the guest off first, or give the NIC a rate instead")
        return
    policed = case.left_policed
    network = case.network
    if policed and network and not case.wanted.absent and not network.given_to(case.nic)[policed].unlimited:
        predicate = f"is policed {policed} by its portgroup, which this libvirt does not take away without a restart"
        yield Problem(f"{policed}.average", CLEAR, predicate, "give it a rate, however high, or change the portgroup")
