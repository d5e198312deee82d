# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The bridge of a virtual network: what limits all its guests together, and requests that bring it to another limit.

They leave in the kernel what libvirt would have made at the network's start (virNetDevBandwidthSet and
virNetDevBandwidthUpdateRate in src/util/virnetdevbandwidth.c): what a guest receives is an HTB, of which class 1:1 is
the network, 1:2 is for all without a guarantee, and each NIC with a floor has a class beside that; what guests send is
policed. Guests keep their floors, and the firewall backend keeps its filters.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import BURSTS, DIRECTIONS, RATES, Limit
from ansible_collections.virtnet.qos.plugins.module_utils._htb import (
    FRAME,
    HtbClass,
    Police,
    class_of,
    class_options,
    default_of,
    kind_of,
    longest_burst,
    police_options,
    root_options,
    tolerance,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_format import (
    CREATE,
    DELQDISC,
    DELTCLASS,
    DELTFILTER,
    EXCLUSIVE,
    INGRESS,
    NEWQDISC,
    NEWTCLASS,
    NEWTFILTER,
    ROOT,
    Message,
    attributes,
    tc_body,
)
from ansible_collections.virtnet.qos.plugins.module_utils._tc_limits import ALL_FRAMES, has_rule, policer_of

HANDLE = 1 << 16  # 1:, of the root qdisc
NETWORK, REST = 1, 2  # the minors of libvirt's classes
INGRESS_HANDLE = 0xFFFF << 16
INGRESS_BLOCK = 13  # linux/rtnetlink.h: TCA_INGRESS_BLOCK
KILO = 1000  # bytes/s in libvirt's unit of a rate
# A network that has had a limit since its start may get guests with floors at any time, whose classes libvirt puts
# below 1:1. So where it is unlimited meanwhile, the classes stay, with the highest rate there is.
WIDEST = Limit(average=RATES.largest)
_ENTRY, _POLICER = "qdisc ingress", "policer"
_SFQ = struct.pack("=IiIII", 0, 10, 0, 0, 0)  # struct tc_sfq_qopt: perturb 10, as libvirt's


class Policer(NamedTuple):
    """Where the filter of a policer is, and whether it is alone at its preference."""

    handle: int = 0
    info: int = ALL_FRAMES
    alone: bool = True


@dataclass(frozen=True)
class Bridge:
    """What is on a bridge. ``foreign`` tells, by direction, what is not libvirt's."""

    index: int
    root: bool = False
    classes: Mapping[int, HtbClass] = field(default_factory=dict)  # by minor
    filtered: bool = False  # whether somebody's filters hang on the root, which has to stay then
    ingress: bool = False
    police: Police | None = None
    policer: Policer = field(default_factory=Policer)
    shared: bool = False  # whether there are more filters on what it receives
    foreign: Mapping[str, str] = field(default_factory=dict)

    @property
    def floors(self) -> dict[int, HtbClass]:
        """The classes of NICs that are guaranteed something, by minor."""
        return {minor: each for minor, each in self.classes.items() if each.parent == NETWORK and minor != REST}

    @property
    def others(self) -> dict[int, HtbClass]:
        """The classes that are somebody else's, by minor."""
        ours = {NETWORK, REST, *self.floors}
        return {minor: each for minor, each in self.classes.items() if minor not in ours}


class Request(NamedTuple):
    """What is asked of the kernel: what it is about, the number of the message, its flags and its body."""

    about: str
    number: int
    flags: int
    body: bytes

    @property
    def direction(self) -> str:
        """The direction that it is about."""
        return "outbound" if self.about in (_ENTRY, _POLICER) else "inbound"


def shaped(bridge: Bridge, wanted: Mapping[str, Limit], holds: bool) -> Bridge:
    """Return the bridge as it is to be: of each direction that is named, with this limit.

    ``holds`` tells whether libvirt believes the network to have a limit of what guests receive.
    """
    target = bridge
    if "inbound" in wanted:
        target = _inbound(target, wanted["inbound"], holds)
    if "outbound" in wanted:
        target = _outbound(target, wanted["outbound"])
    return target


def _inbound(bridge: Bridge, limit: Limit, holds: bool) -> Bridge:
    if limit.unlimited and not holds and not bridge.floors:
        ours = bool(bridge.classes) and not (bridge.filtered or bridge.others)
        return replace(bridge, root=bridge.root and not ours, classes=bridge.others)
    limit = WIDEST if limit.unlimited else limit
    average, cap = limit.average * KILO, limit.cap * KILO
    promised = sum(each.rate for each in bridge.floors.values())
    quantum = min(max(limit.average * 1024 // 8 // 1500, 1), 2**31 - 1)
    classes = {NETWORK: HtbClass(0, average, cap, _burst(average), _burst(cap), quantum)}
    # libvirt takes the rest from the peak where there is one.
    rest = max(cap - promised, KILO) if bridge.floors else average
    burst = min(limit.burst * BURSTS.step, longest_burst(rest)) or _burst(rest)  # as tc chooses one
    classes[REST] = HtbClass(NETWORK, rest, cap, burst, _burst(cap), quantum)
    classes.update((minor, replace(each, ceil=cap, ceil_burst=_burst(cap))) for minor, each in bridge.floors.items())
    kept = {minor: _kept(bridge, minor, each) for minor, each in classes.items()}
    return replace(bridge, root=True, classes={**bridge.others, **kept})


def _kept(bridge: Bridge, minor: int, wanted: HtbClass) -> HtbClass:
    """Return a class as it is, where that is as wanted. The burst of a network is that of class 1:2."""
    now = bridge.classes.get(minor)
    if now is None or (now.rate, now.ceil) != (wanted.rate, wanted.ceil):
        return wanted
    return wanted if minor == REST and abs(now.burst - wanted.burst) > tolerance(now.rate) else now


def _burst(rate: int) -> int:
    return FRAME + rate // 10**9


def _outbound(bridge: Bridge, limit: Limit) -> Bridge:
    if limit.unlimited:
        return replace(bridge, police=None, ingress=bridge.ingress and (bridge.shared or bridge.police is None))
    rate = limit.average * KILO
    # Without a burst, that of a second (virNetDevBandwidthSet).
    burst = min((limit.burst or min(limit.average, BURSTS.largest)) * BURSTS.step, longest_burst(rate))
    now = bridge.police
    alike = now is not None and now.rate == rate and abs(now.burst - burst) <= tolerance(rate)
    return replace(bridge, ingress=True, police=now if alike else Police(rate, burst))


def as_it_was(now: Bridge, before: Bridge, directions: Collection[str] = DIRECTIONS) -> Bridge:
    """Return the bridge as it was before, but for the classes of guests with floors that came or went since.

    Where nothing was done about one of the ``directions``, what is there by now came from somebody else, and stays.
    """
    restored = now
    if "outbound" in directions:
        restored = replace(now, ingress=before.ingress or now.shared, police=before.police)
    if "inbound" not in directions:
        return restored
    if NETWORK not in before.classes or REST not in before.classes:
        classes = now.classes if now.floors else now.others
        return replace(restored, root=before.root or now.filtered or bool(classes), classes=classes)
    network, rest = before.classes[NETWORK], before.classes[REST]
    if now.floors.keys() != before.floors.keys():
        promised = sum(each.rate for each in now.floors.values())
        rest = replace(rest, rate=max(network.ceil - promised, KILO) if promised else network.rate)
    floors = {
        minor: replace(each, ceil=network.ceil, ceil_burst=network.ceil_burst) for minor, each in now.floors.items()
    }
    return replace(restored, root=True, classes={**now.others, **floors, NETWORK: network, REST: rest})


def difference(now: Bridge, target: Bridge) -> list[Request]:
    """Return the requests that make the one bridge of the other. Classes are changed in place, and lose nothing."""
    return [*_root(now, target), *_ingress(now, target)]


def _root(now: Bridge, target: Bridge) -> Iterator[Request]:
    index = now.index
    if now.root and not target.root:
        yield Request("qdisc htb 1:", DELQDISC, 0, tc_body(index, parent=ROOT, handle=HANDLE))
        return
    if target.root and not now.root:
        body = tc_body(index, parent=ROOT, handle=HANDLE, kind="htb", options=root_options(REST))
        yield Request("qdisc htb 1:", NEWQDISC, CREATE | EXCLUSIVE, body)
    for minor in sorted(set(now.classes) - set(target.classes), reverse=True):  # those below first
        yield Request(f"class htb 1:{minor:x}", DELTCLASS, 0, tc_body(index, handle=HANDLE | minor))
    for minor, each in sorted(target.classes.items()):
        if each == now.classes.get(minor):
            continue
        new = minor not in now.classes
        place = {"parent": HANDLE | each.parent, "handle": HANDLE | minor}
        body = tc_body(index, **place, kind="htb", options=class_options(each))
        yield Request(f"class htb 1:{minor:x}", NEWTCLASS, CREATE | EXCLUSIVE if new else 0, body)
        if new and minor == REST:
            body = tc_body(index, parent=HANDLE | REST, handle=REST << 16, kind="sfq", options=_SFQ)
            yield Request("qdisc sfq 2:", NEWQDISC, CREATE | EXCLUSIVE, body)


def _ingress(now: Bridge, target: Bridge) -> Iterator[Request]:
    index = now.index
    handle, info, alone = now.policer
    if target.ingress and not now.ingress:
        body = tc_body(index, parent=INGRESS, handle=INGRESS_HANDLE, kind="ingress")
        yield Request(_ENTRY, NEWQDISC, CREATE | EXCLUSIVE, body)
    if target.police and target.police != now.police:
        flags = 0 if now.police else CREATE | EXCLUSIVE
        options = police_options(target.police)
        body = tc_body(index, parent=INGRESS_HANDLE, handle=handle, info=info, kind="u32", options=options)
        yield Request(_POLICER, NEWTFILTER, flags, body)
    if now.police and not target.police and target.ingress:
        # Without a handle, the tables go as well that the kernel made for it.
        body = tc_body(index, parent=INGRESS_HANDLE, handle=0 if alone else handle, info=info, kind="u32")
        yield Request(_POLICER, DELTFILTER, 0, body)
    if now.ingress and not target.ingress:
        yield Request(_ENTRY, DELQDISC, 0, tc_body(index, parent=INGRESS, handle=INGRESS_HANDLE))


def in_detail(bridge: Bridge, other: Bridge) -> dict[str, dict[str, str]]:
    """Return what of a bridge is not as it is in another one, by direction, in the words of tc(8)."""
    classes, found = bridge.classes, {}
    for minor in sorted({*classes, *other.classes}):
        if classes.get(minor) != other.classes.get(minor):
            each = classes.get(minor)
            said = f"rate {each.rate * 8}bit ceil {each.ceil * 8}bit burst {each.burst}B" if each else "none"
            found[f"class 1:{minor:x}"] = said
    inbound = {"inbound": found} if found else {}
    if bridge.police == other.police:
        return inbound
    police = bridge.police
    said = f"rate {police.rate * 8}bit burst {police.burst}B" if police else "none"
    return {**inbound, "outbound": {"policer": said}}


def bridge_of(
    index: int,
    qdiscs: Iterable[Message],
    classes: Iterable[Message],
    sent: Iterable[Message],
    received: Collection[Message],
) -> Bridge:
    """Return a bridge from the kernel's messages about it; the filters are of the root qdisc, and of ingress."""
    here = [each for each in qdiscs if each.device == index]
    # The kernel's own root has no handle.
    root = next((each for each in here if each.parent == ROOT and each.handle), None)
    entry = next((each for each in here if each.parent == INGRESS), None)
    ours = root is not None and (kind_of(root), root.handle) == ("htb", HANDLE) and default_of(root) == REST
    foreign = {} if root is None or ours else {"inbound": f"qdisc {kind_of(root)} {root.handle >> 16:x}:"}
    found = policer_of(received)
    if found and kind_of(found[0]) != "u32":
        foreign["outbound"] = f"a policer in a filter of kind {kind_of(found[0])}"
    clsact = entry is not None and kind_of(entry) != "ingress"
    if clsact:
        foreign.setdefault("outbound", "a qdisc clsact")
    elif entry is not None and INGRESS_BLOCK in attributes(entry.data):
        foreign["outbound"] = "a qdisc ingress with filters that it shares with others"
    # A u32 filter comes with its tables, which have no keys.
    others = [each for each in received if has_rule(each) and not (found and each is found[0])]
    return Bridge(
        index,
        root=ours,
        classes={each.handle & 0xFFFF: said for each in classes if (said := class_of(each))} if ours else {},
        filtered=any(True for _each in sent),
        ingress=entry is not None,
        police=found[1] if found else None,
        policer=_place(found[0], others) if found else Policer(),
        shared=bool(others) or clsact,
        foreign=foreign,
    )


def _place(policer: Message, others: Iterable[Message]) -> Policer:
    return Policer(policer.handle, policer.info, all(each.info != policer.info for each in others))
