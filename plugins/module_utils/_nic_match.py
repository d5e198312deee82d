# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Which NICs of a host are meant: globs over what NICs, and the domains they are of, are known by."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import FindNetwork, mac_meant
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import About, Nic
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

DOMAIN_KEYS = ("domain", "title", "metadata")
NIC_KEYS = ("network", "portgroup", "bridge", "mac")

_NO_MAC = re.compile(r"[-.]|^[0-9a-f]{3,}$", re.ASCII)
_COLONS = ("it fits no MAC, which libvirt writes with colons", 'write it as in "52:54:00:*", in quotes')


@dataclass(frozen=True)
class Globs:
    """Some globs (case-sensitive, as of fnmatch.fnmatchcase), of which any has to fit."""

    # Those without a wildcard. Among a thousand policies nearly all are for one guest or one MAC.
    exact: frozenset[str]
    wild: re.Pattern[str] | None
    texts: frozenset[str]  # all, as they were written

    def fit(self, text: str | None) -> bool:
        """Whether one of them fits the text. None fits what is not there."""
        return text is not None and (text in self.exact or bool(self.wild and self.wild.match(text)))

    def cover(self, others: Globs) -> bool:
        """Whether what the others fit these fit, too, as far as a text shows that each of the others fits."""
        return all(text in self.texts or self.fit(_example(text)) for text in others.texts)


@dataclass(frozen=True)
class Match:
    """The NICs that all of these globs fit."""

    of_domain: Mapping[str, Globs]
    of_nic: Mapping[str, Globs]

    @property
    def about(self) -> bool:
        """Whether it asks for what people and programs noted of a domain."""
        return "title" in self.of_domain or "metadata" in self.of_domain

    def concerns(self, name: str) -> bool:
        """Whether it can be for a NIC of the domain with this name."""
        globs = self.of_domain.get("domain")
        return globs is None or globs.fit(name)

    def fits_domain(self, name: str, about: About) -> bool:
        """Whether what it says of domains fits this one."""
        for key, globs in self.of_domain.items():
            facts = (name,) if key == "domain" else (about.title,) if key == "title" else about.metadata
            if not any(map(globs.fit, facts)):
                return False
        return True

    def fits_nic(self, nic: Nic, find_network: FindNetwork) -> bool:
        """Whether what it says of NICs fits this one."""
        return not self.of_nic or all(globs.fit(fact(key, nic, find_network)) for key, globs in self.of_nic.items())

    def covers(self, other: Match) -> bool:
        """Whether it is the more general one, which fits whatever the other fits."""
        of = {**_ANY, **other.of_domain, **other.of_nic}
        return all(
            key in of and globs.cover(of[key])
            for given in (self.of_domain, self.of_nic)
            for key, globs in given.items()
        )


def _example(glob: str) -> str:
    """Return a text that the glob fits, with characters that no name has where it has wildcards."""
    return re.sub(r"\[[^]]+\]|\?", "\0", glob).replace("*", "\0\0")


_ANY_TEXT = Globs(frozenset(), None, frozenset("*"))
_ANY = {"domain": _ANY_TEXT, "mac": _ANY_TEXT}  # what every NIC has, so that not to ask for it is to take any


def fact(key: str, nic: Nic, find_network: FindNetwork) -> str | None:
    """Return what a NIC has, be it by its network: the default portgroup, and the bridge of guests that are off."""
    own: str | None = getattr(nic, key)
    if own is not None or nic.network is None:
        return own
    network = find_network(nic.network)
    if network is None:
        return None
    return network.bridge if key == "bridge" else network.portgroup_of(nic)


def parse_match(options: Mapping[str, list[str] | None], problems: Problems, option: str) -> Match:
    """Read the option that says which NICs; everything that is wrong with it is added to ``problems``."""
    named = {key: globs for key, globs in options.items() if globs is not None}
    if not named:
        rule = "a match that names nothing would be for every NIC of the host"
        problems.add(option, None, rule, 'write domain: "*" if that is meant')
    match = {key: _parse_globs(globs, problems, f"{option}.{key}") for key, globs in named.items()}
    of_domain = {key: globs for key, globs in match.items() if key in DOMAIN_KEYS}
    return Match(of_domain, {key: globs for key, globs in match.items() if key in NIC_KEYS})


def _parse_globs(globs: list[str], problems: Problems, option: str) -> Globs:
    texts = globs
    if option.endswith(".mac"):
        # libvirt knows MACs in any case, and shows them in lower case.
        texts = [glob.lower() for glob in globs]
        for text in texts:
            if _NO_MAC.search(re.sub(r"\[[^]]+\]", "", text)):
                problems.add(option, text, *(mac_meant(text) or _COLONS))
    if not all(texts):
        problems.add(option, globs, "an empty glob fits nothing", "give a name or a glob, or drop the key")
    if not texts:
        problems.add(option, globs, "an empty list fits nothing", "give a name or a glob, or drop the key")
    wild = [text for text in texts if re.search(r"[*?[]", text)]
    try:
        pattern = re.compile("|".join(map(fnmatch.translate, wild))) if wild else None
    except re.error:
        # Python before 3.11 does not take a range whose ends are the wrong way round.
        problems.add(option, globs, "a range in it has its ends the wrong way round", "write it as in [a-z]")
        pattern = None
    return Globs(frozenset(texts) - frozenset(wild), pattern, frozenset(texts))
