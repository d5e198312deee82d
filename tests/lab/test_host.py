# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of the host lab, driven as a person drives it. Its name is of this run only: nobody's host is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HOST = Path(__file__).with_name("host.py")
NAME = f"test-{os.getpid()}"


def lab(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HOST), *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def on_host(*command: str, timeout: float = 60) -> str:
    result = lab("ssh", NAME, "--", *command, timeout=timeout)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module", autouse=True)
def host() -> Iterator[None]:
    """Up with its guest; a first run builds the image too."""
    result = lab("up", NAME, timeout=2400)
    assert result.returncode == 0, result.stderr
    yield
    assert lab("down", NAME).returncode == 0
    assert lab("ssh", NAME).returncode == 1


def test_a_second_up_leaves_it_alone_and_is_quick() -> None:
    began = time.monotonic()
    result = lab("up", NAME)
    assert result.returncode == 0
    assert f"{NAME} is up already" in result.stderr
    assert time.monotonic() - began < 5


def test_another_release_under_the_same_name_is_refused() -> None:
    result = lab("up", "--release", "bookworm", NAME)
    assert result.returncode == 1
    assert f"{NAME} is up with trixie" in result.stderr


def test_status_shows_it() -> None:
    (row,) = [row for row in json.loads(lab("status", "--json").stdout) if row["name"] == NAME]
    assert (row["release"], row["state"], row["guest"]) == ("trixie", "up", "running")


def test_ssh_passes_output_and_status_on() -> None:
    assert on_host("hostname") == f"{NAME}\n"
    assert lab("ssh", NAME, "--", "exit 7").returncode == 7


def test_the_images_stay_while_it_runs() -> None:
    result = lab("clean")
    assert result.returncode == 1
    assert NAME in result.stderr


def test_the_inventory_logs_ansible_in(tmp_path: Path) -> None:
    inventory = tmp_path / "lab.yml"
    inventory.write_text(lab("inventory", NAME).stdout)
    ping = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "-i", str(inventory), NAME, "-m", "ansible.builtin.ping"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert '"ping": "pong"' in ping.stdout, ping.stdout + ping.stderr


def test_what_prepare_installs_can_be_installed_without_a_network() -> None:
    on_host("ip route del default")
    try:
        on_host("apt-get update && apt-get install -y python3-libvirt python3-lxml python3-pyroute2", timeout=180)
    finally:
        on_host("ip route add default via 10.0.2.2")
    assert on_host("python3 -c 'import libvirt, lxml, pyroute2; print(42)'") == "42\n"


def test_the_kernel_has_what_the_collection_uses() -> None:
    on_host(
        "for module in sch_hfsc sch_fq_codel cls_flower cls_flow cls_basic em_meta 8021q bonding ifb act_police dummy; "
        "do modprobe $module || exit 1; done"
    )


def sent_mbit(address: str) -> float:
    report = json.loads(on_host("iperf3", "--json", "--time", "3", "--client", address, timeout=60))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6


@pytest.mark.parametrize("address", ["192.0.2.2", "198.51.100.2", "203.0.113.2"])
def test_traffic_flows_on_the_uplink(address: str) -> None:
    assert sent_mbit(address) > 10


def test_the_uplink_has_the_root_qdisc_of_a_veth() -> None:
    assert "qdisc noqueue 0: root" in on_host("tc qdisc show dev uplink0")


@pytest.mark.parametrize("address", ["10.77.1.10", "10.77.2.10"])
def test_traffic_flows_to_both_nics_of_the_guest(address: str) -> None:
    assert sent_mbit(address) > 10


def test_a_limit_of_libvirt_holds() -> None:
    """The reason for all of it: 1000 kB/s are 8 Mbit/s, less the headers."""
    tune = "virsh domiftune guest1 52:54:00:4c:0a:10 --live --inbound"
    on_host(f"{tune} 1000")
    try:
        assert 6 < sent_mbit("10.77.1.10") < 10
    finally:
        on_host(f"{tune} 0")


def test_the_guest_obeys_its_power_button_and_starts_again() -> None:
    on_host("virsh shutdown guest1")
    on_host("for i in $(seq 30); do virsh domstate guest1 | grep -q shut && exit; sleep 1; done; exit 1")
    on_host("lab-start-guest 240", timeout=260)


def test_a_reboot_keeps_disk_port_and_guest() -> None:
    boot = on_host("cat /proc/sys/kernel/random/boot_id; echo kept > /var/tmp/kept").strip()
    lab("ssh", NAME, "--", "systemctl reboot")
    end = time.monotonic() + 240
    while (now := lab("ssh", NAME, "--", "cat /proc/sys/kernel/random/boot_id").stdout.strip()) in ("", boot):
        assert time.monotonic() < end, "no new boot"
        time.sleep(2)
    assert now != boot
    assert on_host("cat /var/tmp/kept") == "kept\n"
    on_host("lab-start-guest 240", timeout=260)
    assert sent_mbit("198.51.100.2") > 10
