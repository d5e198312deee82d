# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPES, Claim, mac_meant
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_policies import (
    Policies,
    parse_policies,
    refuse_idle,
    warn_of_idle,
    warn_of_overlaps,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import (
    About,
    Domain,
    Network,
    Nic,
    read_domain,
    read_network,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

KEYS = ("domain", "network", "portgroup", "bridge", "mac", "title", "metadata")
NETWORKS = {"prod": Network("prod", "nat", default_portgroup="std", bridge="virbr1"), "pool": Network("pool", "bridge")}


def element(**match: Any) -> dict[str, Any]:
    """One policy as the module gets it from Ansible."""
    globs = {key: [value] if isinstance(value, str) else value for key, value in match.items()}
    limit = {"average": "8kbit", "peak": None, "burst": None, "floor": None}
    return {"match": {**dict.fromkeys(KEYS), **globs}, "inbound": limit, "outbound": None, "state": "present"}


def policies(*matches: dict[str, Any]) -> Policies:
    problems = Problems()
    parsed = parse_policies([element(**match) for match in matches], problems)
    assert not problems.found
    return Policies(parsed)


def claimed(domains: list[Domain], *matches: dict[str, Any]) -> dict[tuple[str, str, str], int | None]:
    problems = Problems()
    claims = policies(*matches).claim(domains, NETWORKS.get, problems)
    assert not problems.found
    return by_nic(claims)


def by_nic(claims: list[Claim]) -> dict[tuple[str, str, str], int | None]:
    return {
        (claim.domain.name, scope, nic.mac): claim.wanted[scope].policy
        for claim in claims
        for scope, nic in claim.nics.items()
    }


def guest(name: str, *nics: Nic, about: About | None = None) -> Domain:
    return Domain(name, f"uuid of {name}", {"config": nics}, {"config": about or About()})


NETWORKED = Nic("52:54:00:ab:cd:ef", "network", network="prod", portgroup="web")
ABOUT = About("Web (prod)", ("nova:flavor=", "nova:flavor@name=m1.small", "app:tier=gold"))


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({"domain": "web-1"}, True),
        ({"domain": "web-*"}, True),
        ({"domain": "web-[0-9]"}, True),
        ({"domain": "web-[!0-9]"}, False),
        ({"domain": "WEB-1"}, False),
        ({"domain": "Web-*"}, False),
        ({"domain": "eb-1"}, False),
        ({"domain": ["db", "web-?"]}, True),
        ({"domain": ["db-*", "app-*"]}, False),
        ({"network": "prod"}, True),
        ({"network": "*"}, True),
        ({"network": "test"}, False),
        ({"portgroup": "web"}, True),
        ({"portgroup": "std"}, False),
        ({"bridge": "virbr*"}, True),
        ({"mac": "52:54:00:AB:*"}, True),
        ({"mac": "52:54:00:AB:CD:EF"}, True),
        ({"title": "Web*"}, True),
        ({"title": "web*"}, False),
        ({"metadata": "nova:flavor@name=m1.*"}, True),
        ({"metadata": "nova:flavor@name=m1.large"}, False),
        ({"metadata": ["x:y=z", "app:*=gold"]}, True),
        ({"metadata": "nova:flavor=*"}, True),
        ({"domain": "web-*", "network": "prod", "mac": "52:*", "metadata": "app:tier=*"}, True),
        ({"domain": "web-*", "network": "test"}, False),
        ({"domain": "db-*", "network": "prod"}, False),
    ],
)
def test_all_keys_have_to_fit_and_of_each_any_glob(match: dict[str, Any], fits: bool) -> None:
    assert bool(claimed([guest("web-1", NETWORKED, about=ABOUT)], match)) == fits


@pytest.mark.parametrize("key", ["network", "portgroup", "bridge", "title", "metadata"])
def test_what_is_not_there_is_not_fitted(key: str) -> None:
    assert not claimed([guest("web-1", Nic("52:54:00:00:00:01", "user"))], {key: "*"})


def test_a_nic_has_its_networks_bridge_and_default_portgroup() -> None:
    plain = Nic("52:54:00:00:00:01", "network", network="prod")
    domains = [guest("a", plain)]
    assert claimed(domains, {"bridge": "virbr1", "portgroup": "std"})
    running = Nic("52:54:00:00:00:01", "bridge", network="prod", bridge="virbr1")
    assert claimed([guest("a", running)], {"bridge": "virbr1", "portgroup": "std"})
    for network in ("pool", "gone"):
        assert not claimed([guest("a", Nic("52:54:00:00:00:01", "network", network=network))], {"bridge": "*"})


def test_the_first_policy_that_fits_is_the_one() -> None:
    one, two = Nic("52:54:00:00:00:01", "bridge", bridge="br0"), Nic("52:54:00:00:00:02", "bridge", bridge="br1")
    domains = [guest("web", one, two), guest("db", one), guest("else", two)]
    matches = ({"domain": "web", "bridge": "br1"}, {"domain": "w*"}, {"domain": "db"}, {"domain": "*", "bridge": "br0"})
    assert claimed(domains, *matches) == {
        ("web", "config", one.mac): 1,
        ("web", "config", two.mac): 0,
        ("db", "config", one.mac): 2,
    }


def test_each_scope_is_matched_by_itself() -> None:
    now, then = (Nic("52:54:00:00:00:01", "network", network=network) for network in ("prod", "test"))
    domain = Domain("web", "u", {"live": (now,), "config": (then,)})
    assert claimed([domain], {"network": "test"}, {"network": "prod"}) == {
        ("web", "live", now.mac): 1,
        ("web", "config", now.mac): 0,
    }
    assert claimed([domain], {"network": "prod"}) == {("web", "live", now.mac): 0}


names = st.text("ab[]*?-", min_size=1, max_size=4)


MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
globs = st.fixed_dictionaries(
    {},
    optional={
        "domain": st.lists(names, min_size=1, max_size=2),
        "mac": st.lists(st.sampled_from([*MACS, "*:01"]), min_size=1, max_size=2),
    },
).filter(bool)


@given(st.lists(globs, min_size=1, max_size=5), st.lists(names, unique=True))
def test_the_indices_change_nothing(matches: list[dict[str, list[str]]], domains: list[str]) -> None:
    def fits(name: str, mac: str, match: dict[str, list[str]]) -> bool:
        facts = {"domain": name, "mac": mac}
        return all(any(fnmatch.fnmatchcase(facts[key], text) for text in texts) for key, texts in match.items())

    expected = {}
    for name in domains:
        for mac in MACS:
            fitting = [number for number, match in enumerate(matches) if fits(name, mac, match)]
            if fitting:
                expected[name, "config", mac] = fitting[0]
    nics = [Nic(mac, "bridge") for mac in MACS]
    assert claimed([guest(name, *nics) for name in domains], *matches) == expected
    concerned = policies(*matches)
    for name in domains:
        may = any(fits(name, "", {"domain": match.get("domain", ["*"])}) for match in matches)
        assert concerned.concern(name) == may


def test_policies_without_a_domain_concern_all() -> None:
    assert policies({"network": "prod"}).concern("any")
    assert policies({"mac": "52:54:00:00:00:01"}).concern("any")
    assert not policies({"mac": "52:54:00:00:00:01", "domain": "db-*"}).concern("web1")
    assert not policies().concern("any")


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        ({}, 'policies[0].match: a match that names nothing would be for every NIC of the host; write domain: "*" if'),
        ({"domain": []}, "policies[0].match.domain []: an empty list fits nothing; give a name or a glob, or drop"),
        ({"title": ["a", ""]}, "policies[0].match.title ['a', '']: an empty glob fits nothing; give a name or a glob"),
        (
            {"mac": ["41135085296"]},
            "policies[0].match.mac '41135085296': without quotes, YAML makes such a number of a MAC that has digits "
            'only; write "52:54:00:12:34:56", in quotes.',
        ),
        (
            {"mac": ["52-54-00-AB-CD-EF"]},
            "policies[0].match.mac '52-54-00-ab-cd-ef': libvirt writes MACs with colons; write \"52:54:00:ab:cd:ef\".",
        ),
        ({"mac": ["525400abcdef"]}, "policies[0].match.mac '525400abcdef': libvirt writes MACs with colons; write"),
        ({"mac": ["5254.00ab.cdef"]}, "policies[0].match.mac '5254.00ab.cdef': libvirt writes MACs with colons; wri"),
        ({"mac": ["52-54-*"]}, "policies[0].match.mac '52-54-*': it fits no MAC, which libvirt writes with colons; w"),
        ({"mac": ["187254"]}, "policies[0].match.mac '187254': it fits no MAC, which libvirt writes with colons; wri"),
    ],
)
def test_a_match_that_cannot_be_meant(match: dict[str, Any], sentence: str) -> None:
    problems = Problems()
    parse_policies([element(**match)], problems)
    (problem,) = problems.found
    assert problem.startswith(sentence)


@pytest.mark.parametrize("glob", ["*", "52:*", "52:54:00:[0-9a-f]?:*", "00:16:3E:00:00:01", "5[!3-9]:*", "*01", "52"])
def test_a_glob_of_macs(glob: str) -> None:
    problems = Problems()
    parse_policies([element(mac=[glob])], problems)
    assert problems.found == []


@given(st.lists(st.integers(0, 59), min_size=5, max_size=5), st.integers(10, 99))
def test_a_mac_that_yaml_made_a_number_of_is_told_as_it_was(groups: list[int], first: int) -> None:
    mac = ":".join(f"{group:02}" for group in (first, *groups))
    number = yaml.safe_load(mac)
    assert isinstance(number, int)
    _rule, remedy = mac_meant(str(number)) or ("", "")
    assert mac in remedy


def test_all_problems_of_all_policies_are_told() -> None:
    problems = Problems()
    bad = element(domain="a")
    bad["inbound"] = {"average": "8", "peak": None, "burst": "1kB", "floor": None}
    absent = {**element(domain="b"), "state": "absent"}
    nothing = {**element(domain="c"), "inbound": None}
    parse_policies([bad, element(), absent, nothing], problems)
    told = [problem.split(": ")[0] for problem in problems.found]
    assert told == [
        "policies[0].inbound.average '8'",
        "policies[0].inbound.burst '1kB'",
        "policies[1].match",
        "policies[2].inbound",
        "policies[3].state 'present'",
    ]


def test_macs_that_are_not_unique_matter_where_they_are_claimed() -> None:
    twins = (Nic("52:54:00:00:00:0a", "bridge", "left"), Nic("52:54:00:00:00:0a", "bridge", "right"))
    domains = [guest("twins", *twins), guest("web", Nic("52:54:00:00:00:0a", "bridge"))]
    problems = Problems()
    policies({"domain": "*"}).claim(domains, NETWORKS.get, problems)
    (problem,) = problems.found
    assert problem.startswith(
        "policies[0].match: the persistent definition of domain 'twins' has NICs with the same MAC: "
        "52:54:00:00:00:0a (left, bridge), 52:54:00:00:00:0a (right, bridge); give each NIC a MAC of its own first"
    )
    assert claimed(domains, {"domain": "web"})


def test_policies_that_claim_nothing() -> None:
    domains = [guest("web", Nic("52:54:00:00:00:01", "bridge")), guest("db", Nic("52:54:00:00:00:02", "bridge"))]
    given = policies(
        {"domain": "nope"}, {"domain": "*"}, {"domain": "web"}, {"mac": "52:54:00:00:00:0?"}, {"title": "*"}
    )
    claims = given.claim(domains, NETWORKS.get, Problems())
    idle = given.idle(domains, claims, NETWORKS.get)
    assert idle == {0: [], 2: [1], 3: [1], 4: []}
    assert warn_of_idle(idle, SCOPES) == [
        "Policies that claim no NIC: policies[0], policies[4] (no NIC on this host fits), "
        "policies[2] (what it fits is claimed by policies[1]), policies[3] (what it fits is claimed by policies[1])."
    ]
    problems = Problems()
    refuse_idle(idle, SCOPES, problems)
    assert problems.found[:2] == [
        "policies[0].match: no NIC on this host fits it; correct it, drop the policy, or drop require_match.",
        "policies[2].match: every NIC that it fits is claimed by policies[1]; "
        "move it before those, drop the policy, or drop require_match.",
    ]
    assert warn_of_idle({}, SCOPES) == []


def overlapping(*elements: dict[str, Any]) -> list[str]:
    """Return what is said of policies of a host with these guests, with a NIC on the network prod each."""
    domains = [
        guest(name, Nic(f"52:54:00:00:00:0{number}", "network", network="prod"))
        for number, name in enumerate(("db-1", "db-2", "web-1"), 1)
    ]
    problems = Problems()
    given = Policies(parse_policies(elements, problems))
    claims = given.claim(domains, NETWORKS.get, problems)
    assert not problems.found
    return warn_of_overlaps(given.overlaps(claims, given.idle(domains, claims, NETWORKS.get), NETWORKS.get))


DISPUTED = "db-1 52:54:00:00:00:01 (policies[0], not policies[1])"
BOTH_DISPUTED = f"{DISPUTED}, db-2 52:54:00:00:00:02 (policies[0], not policies[1])"


@pytest.mark.parametrize(
    ("matches", "disputed"),
    [
        ([{"domain": "db-*"}, {"domain": ["db-1", "web-1"]}], DISPUTED),
        ([{"domain": "db-?"}, {"domain": ["db-1", "web-1"]}], DISPUTED),
        ([{"domain": "*-1"}, {"domain": "db-*"}], DISPUTED),
        ([{"domain": "db-*"}, {"network": "prod"}], BOTH_DISPUTED),
        ([{"domain": "db-*"}, {"domain": ["db-?", "web-1"]}], BOTH_DISPUTED),
        ([{"domain": "db-*", "mac": "*:01"}, {"domain": "*", "mac": ["*:01", "*:03"]}], ""),
        ([{"domain": "db-*"}, {"domain": "*", "network": "prod"}], BOTH_DISPUTED),
        # The later one is the more general one.
        ([{"domain": "db-1"}, {"domain": "*"}], ""),
        ([{"network": "prod"}, {"domain": "*"}], ""),
        ([{"mac": "52:54:00:00:00:01"}, {"mac": "52:54:*"}], ""),
        ([{"domain": "db-1"}, {"domain": ["db-1", "web-1"]}], ""),
        ([{"domain": ["db-1", "db-[2-4]"]}, {"domain": "db-?"}, {"domain": ["d*", "web-1"]}], ""),
        ([{"domain": "db-*", "network": "prod"}, {"network": "prod"}, {"domain": "*"}], ""),
        # The later one is told as idle.
        ([{"domain": "*"}, {"domain": "db-1"}], ""),
        # The way out that the warning names.
        ([{"domain": "db-1"}, {"domain": "db-*"}, {"domain": ["db-1", "web-1"]}], ""),
    ],
)
def test_policies_that_dispute_a_nic(matches: list[dict[str, Any]], disputed: str) -> None:
    # What each asks for differs from all others.
    limits = [{**element()["inbound"], "average": f"{8 * number}kbit"} for number in range(1, 4)]
    said = overlapping(*({**element(**match), "inbound": limit} for match, limit in zip(matches, limits)))
    assert said == (
        [
            "NICs in two policies that want different things, of which neither takes in all of the other, so that the "
            f"first counts: {disputed}. If that is meant, say it in a policy for just these, before both."
        ]
        if disputed
        else []
    )
    assert overlapping(*(element(**match) for match in matches)) == []  # all want the same
    first, *others = matches
    absent = {**element(**first), "inbound": None, "state": "absent"}
    assert bool(overlapping(absent, *(element(**match) for match in others))) == bool(disputed)


def test_a_policy_that_fits_in_the_scope_that_is_left_out_only() -> None:
    problems = Problems()
    refuse_idle({0: []}, ["live"], problems)
    assert problems.found == [
        "policies[0].match: no NIC in a running guest on this host fits it; "
        "correct it, drop affect, drop the policy, or drop require_match."
    ]
    assert warn_of_idle({0: []}, ["config"]) == [
        "Policies that claim no NIC: policies[0] (no NIC in a persistent definition on this host fits)."
    ]


def test_a_thousand_idle_policies_are_one_short_sentence() -> None:
    (warning,) = warn_of_idle({index: [] for index in range(1000)}, SCOPES)
    assert "policies[19] and 980 more" in warning
    assert len(warning) < 500


def test_metadata_are_elements_and_attributes_with_their_prefixes() -> None:
    domain = """<domain id='3'><title>Shop</title><metadata>
      <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><!-- no -->
        <nova:flavor name="m1.small"><nova:memory>512</nova:memory></nova:flavor>
        <nova:owner><nova:project uuid="1f"> web </nova:project></nova:owner></nova:instance>
      <tier xmlns="urn:app" xmlns:x="urn:x" x:level="1">gold</tier></metadata></domain>"""
    read = read_domain(domain)
    assert read.running
    assert read.about == About(
        "Shop",
        (
            "nova:instance=",
            "nova:flavor=",
            "nova:flavor@name=m1.small",
            "nova:memory=512",
            "nova:owner=",
            "nova:project=web",
            "nova:project@uuid=1f",
            "tier=gold",
            "tier@level=1",
        ),
    )
    assert read_domain(domain, metadata=False).about == About()


def test_a_comment_takes_nothing_from_metadata() -> None:
    domain = """<domain><metadata><a:x xmlns:a="urn:a"><!-- ours --><a:tier><!-- since May -->go<?p i?>ld</a:tier>
      <a:mixed>one <!-- and --> two<a:inner>three</a:inner>four</a:mixed></a:x></metadata></domain>"""
    noted = read_domain(domain).about.metadata
    assert noted == ("a:x=", "a:tier=gold", "a:mixed=one  two", "a:inner=three")
    assert not read_domain("<domain/>").running


def test_a_network_names_its_bridge() -> None:
    assert read_network("<network><name>n</name><bridge name='virbr0' stp='on'/></network>").bridge == "virbr0"
    assert read_network("<network><name>n</name><forward mode='hostdev'/></network>").bridge is None
