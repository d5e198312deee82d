# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the host lab can be tested without a virtual machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab.hostlab import (
    accel,
    cli,
    errors,
    image,
    inventory,
    locks,
    paths,
    progress,
    ready,
    recipe,
    seed,
    ssh,
    state,
    vm,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees, or ends, the hosts of the person who runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "virtnet-qos"


def make_host(name: str = "web1", pid: int = 1, **changes: object) -> state.Host:
    paths.private(state.directory(name))
    values = {"release": "trixie", "image": "/i", "accel": "tcg", "port": 2201, "started": time.time(), **changes}
    host = state.Host(name=name, pid=pid, **values)  # type: ignore[arg-type]
    host.save()
    return host


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Looks like the QEMU of the host web1, by its arguments."""
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", str(state.pidfile(state.directory("web1")))]
    )
    yield sleeper
    sleeper.kill()
    sleeper.wait()


def test_a_free_port_can_be_taken() -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", vm.free_port()))


def machine(tmp_path: Path) -> vm.Machine:
    directory = tmp_path / "web1"
    directory.mkdir()
    return vm.Machine(directory, image.Image(tmp_path), "tcg", 512, 1)


def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_a_port_that_is_lost_to_somebody_quicker_costs_another_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "counter"
    taken = '{ echo "Could not set up host forwarding rule" >&2; exit 1; }'
    script = f"echo x >> {counter}; [ $(wc -l < {counter}) -ge 3 ] || {taken}"
    fake_qemu(tmp_path, monkeypatch, script)
    assert machine(tmp_path).launch() > 0
    assert counter.read_text().count("x") == 3


def test_what_qemu_says_when_it_does_not_start_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_qemu(tmp_path, monkeypatch, "echo no memory >&2; exit 1")
    with pytest.raises(errors.LabError, match="web1: QEMU does not start: no memory"):
        machine(tmp_path).launch()


def test_ssh_is_offered_on_loopback_only(tmp_path: Path) -> None:
    assert "user,id=wan,hostfwd=tcp:127.0.0.1:4711-:22" in machine(tmp_path).command(4711)


@pytest.mark.parametrize("name", ["", "Web", "1a", "../x", "a/b", "a" * 32, "a b"])
def test_a_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(errors.LabError, match="no name for a host"):
        state.directory(name)


def test_a_host_reads_back_as_it_was_written() -> None:
    host = make_host().became(ready=True, guest=True)
    assert state.load("web1") == host
    assert host.ready
    assert host.guest
    assert state.all_hosts() == [host]


def test_a_host_that_never_was_is_none() -> None:
    assert state.load("web1") is None
    with pytest.raises(errors.LabError, match="start it with: up web1"):
        state.running("web1")


def test_a_process_that_is_not_our_qemu_is_neither_alive_nor_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        host = make_host(pid=stranger.pid)
        assert not host.alive()
        host.end()
        assert stranger.poll() is None
        stranger.kill()


def test_our_qemu_is_alive_until_it_is_ended(process: subprocess.Popen[bytes]) -> None:
    host = make_host(pid=process.pid)
    progress.wait("exec", host.alive, 5, every=0.01)
    host.end()
    assert not host.alive()
    assert process.wait(5) == -15


def test_a_process_that_is_gone_is_no_error(process: subprocess.Popen[bytes]) -> None:
    host = make_host(pid=process.pid)
    process.kill()
    process.wait()
    host.end()
    assert not host.alive()


def test_state_is_private(cache: Path) -> None:
    make_host()
    assert stat.S_IMODE((cache / "hosts").stat().st_mode) == 0o700
    assert stat.S_IMODE((cache / "hosts" / "web1").stat().st_mode) == 0o700


def test_the_inventory_is_yaml_that_ansible_reads() -> None:
    yaml = pytest.importorskip("yaml")
    make_host()
    make_host("web2", port=2202, release="forky")
    hosts = yaml.safe_load(inventory.render(state.all_hosts()))["lab"]["hosts"]
    assert list(hosts) == ["web1", "web2"]
    assert hosts["web2"]["ansible_port"] == 2202
    assert hosts["web2"]["lab_release"] == "forky"
    assert hosts["web1"]["ansible_python_interpreter"] == "/usr/bin/python3"
    assert "StrictHostKeyChecking=yes" in hosts["web1"]["ansible_ssh_common_args"]
    assert str(state.directory("web1") / "known_hosts") in hosts["web1"]["ansible_ssh_common_args"]


def test_a_host_whose_state_is_lost_or_foreign_can_still_be_ended() -> None:
    directory = paths.private(state.directory("web1"))
    for content in ("", "[]", '{"name": "web1", "more": 1}'):
        (directory / "state.json").write_text(content)
        assert state.load("web1") is None
        state.pidfile(directory).write_text("4194304\n")
        found = state.load("web1")
        assert found is not None
        assert found.pid == 4194304
        state.pidfile(directory).unlink()


def test_the_end_of_a_console_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text("BIOS\x1b[6n\x1b[2Jready\x07\n")
    assert image.tail(console) == "BIOSready"


def test_an_inventory_of_nothing_is_empty() -> None:
    assert inventory.render([]) == "lab:\n  hosts: {}\n"


def copy_of_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = tmp_path / "files"
    shutil.copytree(recipe.FILES, files)
    monkeypatch.setattr(recipe, "FILES", files)
    return files


def test_the_recipe_has_one_name_a_release() -> None:
    names = {recipe.name(release) for release in recipe.RELEASES}
    assert len(names) == len(recipe.RELEASES)
    assert recipe.name("trixie") == recipe.name("trixie")


def test_a_changed_script_changes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.name("trixie")
    files = copy_of_recipe(tmp_path, monkeypatch)
    assert recipe.name("trixie") == before
    (files / "guest-init").write_text("#!/bin/sh\n")
    assert recipe.name("trixie") != before


def test_a_changed_package_list_changes_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.name("trixie")
    monkeypatch.setattr(recipe, "PACKAGES", (*recipe.PACKAGES, "vim"))
    assert recipe.name("trixie") != before


def test_a_finished_image_is_not_built_again(cache: Path) -> None:
    made = cache / "images" / recipe.name("trixie")
    made.mkdir(parents=True)
    assert image.ensure("trixie").directory == made


def test_a_build_that_breaks_leaves_no_image(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "mmdebstrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho E: no such mirror\nexit 25\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(image, "require", lambda *_programs: None)
    with pytest.raises(errors.LabError, match=r"(?s)mmdebstrap failed with status 25.*no such mirror"):
        image.ensure("trixie")
    assert not list((cache / "images").glob("trixie-*"))


def test_images_of_an_older_recipe_go_unless_a_host_runs_on_them(cache: Path, process: subprocess.Popen[bytes]) -> None:
    current, used, unused, other = (
        cache / "images" / name for name in ("trixie-new", "trixie-used", "trixie-old", "forky-old")
    )
    for directory in (current, used, unused, other):
        directory.mkdir(parents=True)
    host = make_host(pid=process.pid, image=str(used))
    progress.wait("exec", host.alive, 5, every=0.01)
    image._remove_old("trixie", image.Image(current))
    assert sorted(path.name for path in (cache / "images").iterdir()) == ["forky-old", "trixie-new", "trixie-used"]
    with pytest.raises(errors.LabError, match="web1"):
        image.clean()
    assert used.is_dir()


def test_the_seed_makes_the_host_known_before_it_boots(tmp_path: Path) -> None:
    with tarfile.open(seed.write(tmp_path, "web1")) as archive:
        content = {entry.name: (entry.mode, entry.uid, entry.size) for entry in archive}
        extracted = archive.extractfile("etc/ssh/ssh_host_ed25519_key.pub")
        assert extracted
        assert (tmp_path / "known_hosts").read_text() == f"web1 {extracted.read().decode()}"
    assert content["etc/ssh/ssh_host_ed25519_key"][:2] == (0o600, 0)
    assert content["root/.ssh"] == (0o700, 0, 0)
    assert content["root/.ssh/authorized_keys"][2] == paths.key().with_suffix(".pub").stat().st_size


def test_the_key_of_the_lab_is_made_once_and_private() -> None:
    first = ssh.lab_key().read_text()
    assert ssh.lab_key().read_text() == first
    assert stat.S_IMODE(paths.key().stat().st_mode) == 0o600


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(errors.LabError, match="apt install mmdebstrap qemu-utils"):
        errors.require("qemu-img", "mmdebstrap")


def test_a_wait_ends_with_what_was_waited_for_and_a_hint() -> None:
    with pytest.raises(errors.LabError, match=r"tea: not within 0 s; look at the kettle"):
        progress.wait("tea", lambda: False, 0.05, lambda: "; look at the kettle", every=0.01)


def test_a_long_wait_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.02)
    end = time.monotonic() + 0.2
    progress.wait("tea", lambda: time.monotonic() > end, 5, every=0.01)
    assert "tea: still waiting after" in capsys.readouterr().err


def test_a_lock_keeps_a_second_process_out(tmp_path: Path) -> None:
    second = locks.held(tmp_path / "lock", "second", 0.05)
    with locks.held(tmp_path / "lock", "first", 1), pytest.raises(errors.LabError, match="second: not within"), second:
        pass
    with locks.held(tmp_path / "lock", "third", 0.05):
        pass


@pytest.mark.parametrize(("greeting", "is_ssh"), [(b"SSH-2.0-x\r\n", True), (b"", False)])
def test_only_a_greeting_counts_as_ssh(greeting: bytes, *, is_ssh: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _address = server.accept()
            with connection:
                connection.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        assert ready.greets(server.getsockname()[1]) is is_ssh
        thread.join()


def test_without_kvm_hosts_are_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "none")
    assert accel.choose(image.Image(tmp_path)) == "tcg"


@pytest.mark.parametrize(("output", "found"), [("lab: guest is up", "kvm"), ("", "tcg")])
def test_kvm_is_what_boots_and_is_probed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, found: str
) -> None:
    counter = tmp_path / "counter"
    monkeypatch.setattr(accel, "DEVICE", tmp_path)
    fake_qemu(tmp_path, monkeypatch, f"echo x >> {counter}; echo '{output}'")
    paths.images()
    assert [accel.choose(image.Image(tmp_path)) for _time in range(2)] == [found, found]
    assert counter.read_text() == "x\n"


def test_status_as_json_lists_a_host_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_host(pid=2**22 + 1)
    monkeypatch.setattr(sys, "argv", ["host.py", "status", "--json"])
    assert cli.main() == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["state"], row["guest"]) == ("web1", "ended", "-")


def test_a_failure_is_one_sentence_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["host.py", "ssh", "web1"])
    assert cli.main() == 1
    assert capsys.readouterr().err == "host.py: web1 is not up; start it with: up web1\n"
