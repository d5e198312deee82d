# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import NO_BANDWIDTH, Bandwidth, Limit, Wanted
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import Write, claim_all
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_warnings import warn_of_saved, warnings
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import Domain, Nic

MAC = "52:54:00:00:00:01"


def test_a_warning_is_one_for_all_nics_and_lists_a_few() -> None:
    wanted = Wanted({"outbound": Limit(10, peak=20)})
    claims = []
    for number in range(1000):
        nic = Nic(f"mac{number:04}", "bridge")
        claims += claim_all(Domain(f"d{number}", "u", {"live": (nic,), "config": (nic,)}), [nic.mac], wanted)
    (warning,) = warnings(claims)
    assert warning.endswith("mac0018, mac0019 and 980 more.")


def test_a_saved_guest_will_have_what_it_had() -> None:
    nic = Nic(MAC, "bridge")
    domain = Domain("slept", "u", {"config": (nic,)}, saved=True)
    claims = claim_all(domain, [MAC], Wanted({"inbound": Limit(5)}))
    change = Change("slept", "u", nic, {"config": Write(NO_BANDWIDTH, Bandwidth(inbound=Limit(5)))})
    (warning,) = warn_of_saved(claims, [change])
    assert warning.startswith("These domains will be resumed with the limits that they were saved with")
    assert warning.endswith("run again when they run: slept.")
    assert not warn_of_saved(claims, [])
