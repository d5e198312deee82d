# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the host lab."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from . import image, inventory, paths, progress, ready, recipe, ssh, state, vm
from .errors import LabError, require
from .locks import held

# Any other exception is a mistake of the lab itself.
EXPECTED = (LabError, OSError, subprocess.SubprocessError)

DESCRIPTION = """\
Throw-away Debian hosts with libvirt, for tests: each is a QEMU virtual machine with
a running guest (guest1, two NICs) and a NIC on a wire (uplink0), reached by ssh.

  host.py up lab1                     build the image if need be, boot, wait until ready
  host.py ssh lab1                    log in (root); with "-- COMMAND..." run a command
  host.py inventory > lab.yml         then: ansible-playbook -i lab.yml ...
  host.py down lab1                   end it and throw away what it wrote

The first "up" of a release downloads and builds its image (needs root, takes a minute
or a few); later ones take it from ~/.cache/virtnet-qos. See docs/host-lab.md.
"""


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="host.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot hosts side by side and wait until they are ready")
    up.add_argument("names", nargs="+", metavar="NAME")
    up.add_argument("--release", choices=recipe.RELEASES, default="trixie", help="Debian release (default: trixie)")
    up.add_argument("--guest", action=argparse.BooleanOptionalAction, default=True, help="start guest1 (default: yes)")
    up.add_argument(
        "--memory", type=positive, default=1536, metavar="MiB", help="of each host that is booted (default: 1536)"
    )
    up.add_argument("--cpus", type=positive, default=1, metavar="N", help="of each host that is booted (default: 1)")
    up.add_argument("--timeout", type=positive, default=600, metavar="S", help="from boot to ready (default: 600)")

    down = commands.add_parser("down", help="end hosts and throw away their disks")
    which = down.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="NAME")
    which.add_argument("--all", action="store_true")

    status = commands.add_parser("status", help="show the hosts")
    status.add_argument("--json", action="store_true")

    login = commands.add_parser(
        "ssh",
        help="log in to a host, or run a command there (in its shell, as ssh does)",
        usage="%(prog)s NAME [-- COMMAND...]",
    )
    login.add_argument("name", metavar="NAME")
    login.add_argument("remote", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    listing = commands.add_parser("inventory", help="print an Ansible inventory of the hosts that are up")
    listing.add_argument("names", nargs="*", metavar="NAME")

    build = commands.add_parser("images", help="build images ahead: of one release, or of all")
    build.add_argument("--release", choices=recipe.RELEASES)

    commands.add_parser("clean", help="remove the cached images")
    return top


def up(options: argparse.Namespace) -> None:
    require("qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen")
    for name in options.names:
        state.directory(name)
    with ThreadPoolExecutor(len(options.names)) as pool:
        tasks = [pool.submit(up_one, name, options) for name in dict.fromkeys(options.names)]
        try:
            errors = [error for error in (task.exception() for task in tasks) if error]
        except KeyboardInterrupt:
            progress.interrupt()
            raise
    for error in errors:
        if not isinstance(error, EXPECTED):
            raise error
    if errors:
        raise LabError("\n".join(map(str, errors)))


def up_one(name: str, options: argparse.Namespace) -> None:
    lock = paths.hosts() / f"{name}.lock"
    with held(lock, f"{name}: another process works on it", options.timeout + image.BUILD_TIMEOUT):
        host = state.load(name)
        if host and host.alive():
            if host.release != options.release:
                raise LabError(f"{name} is up with {host.release}; end it first with: down {name}")
            if host.image != str(image.current(options.release).directory):
                raise LabError(f"{name} is up with an image of another recipe; end it first with: down {name}")
            if host.ready and (host.guest or not options.guest):
                progress.say(f"{name} is up already")
                return
        else:
            if host:
                progress.say(f"{name} had ended; it starts afresh")
            base = image.ensure(options.release)
            host = vm.start(name, options.release, base, memory=options.memory, cpus=options.cpus)
        ready.wait(host, guest=options.guest, timeout=options.timeout)
        progress.say(f"{name} is up")


def down(options: argparse.Namespace) -> None:
    for name in [host.name for host in state.all_hosts()] if options.all else options.names:
        with held(paths.hosts() / f"{name}.lock", f"{name}: another process works on it", 60):
            host = state.load(name)
            if host:
                host.end()
            state.forget(name)
            progress.say(f"{name} is down" if host else f"{name} was not up")


def describe(host: state.Host) -> dict[str, object]:
    alive = host.alive()
    return {
        "name": host.name,
        "release": host.release,
        "state": ("up" if host.ready else "booting") if alive else "ended",
        "port": host.port,
        "accel": host.accel,
        "guest": guest_state(host) if alive and host.ready else "-",
        "uptime": int(state.uptime(host)) if alive else 0,
    }


def guest_state(host: state.Host) -> str:
    try:
        result = ssh.run(host, "virsh", "--connect", "qemu:///system", "domstate", "guest1", timeout=20)
    except subprocess.TimeoutExpired:
        return "unknown"
    return result.stdout.strip() or "unknown"


def status(options: argparse.Namespace) -> None:
    hosts = state.all_hosts()
    with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        rows = list(pool.map(describe, hosts))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    columns = ("name", "release", "state", "port", "accel", "guest", "uptime")
    table = [columns, *(tuple(str(row[column]) for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def login(options: argparse.Namespace) -> int:
    host = state.running(options.name)
    remote = options.remote[1:] if options.remote[:1] == ["--"] else options.remote
    return subprocess.call(ssh.command(host, remote))


def list_inventory(options: argparse.Namespace) -> None:
    if options.names:
        hosts = [state.running(name) for name in options.names]
    else:
        hosts = [host for host in state.all_hosts() if host.alive()]
    print(inventory.render(hosts), end="")


def images(options: argparse.Namespace) -> None:
    for release in [options.release] if options.release else recipe.RELEASES:
        print(image.ensure(release).directory)


def clean(_options: argparse.Namespace) -> None:
    image.clean()


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "up": up,
    "down": down,
    "status": status,
    "ssh": login,
    "inventory": list_inventory,
    "images": images,
    "clean": clean,
}


def main() -> int:
    options = parser().parse_args()
    # Being told to end is being interrupted: waits end, and builds with them.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return COMMANDS[options.command](options) or 0
    except EXPECTED as error:
        print(f"host.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("host.py: interrupted; hosts that were booting go on: see status, end them with down", file=sys.stderr)
        return 130
