# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel lab: run a command, as root, in a kernel that has HFSC and all else this collection needs.

    python3 tests/lab/kernel.py [options] -- COMMAND [ARG...]

The running kernel is used, in namespaces of its own, where it has what is needed; otherwise User-Mode Linux is.
The exit status is that of COMMAND (128+n if signal n killed it), 124 after the time limit, 125 if the lab failed.
What happens inside, around COMMAND, is in kernel_init.py; docs/kernel-lab.md explains the whole.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

TIMED_OUT = 124
LAB_FAILED = 125
STOPPING = (signal.SIGALRM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
PR_SET_CHILD_SUBREAPER = 36
INIT = Path(__file__).resolve().with_name("kernel_init.py")
UML_MODULES = Path("/usr/lib/uml/modules")
PACKAGES = {
    "ip": "iproute2",
    "linux.uml": "user-mode-linux",
    "modprobe": "kmod",
    "setpriv": "util-linux",
    "tc": "iproute2",
    "unshare": "util-linux",
}
# What the running kernel must be able to do; tried in throw-away network namespaces.
PROBES = {
    "ip": """\
link add name probe0 type veth peer name probe1
link add link probe0 name probe0.5 type vlan id 5
link add name probe2 type dummy
""",
    "tc": """\
qdisc add dev lo root handle 1: hfsc default 1
class add dev lo parent 1: classid 1:1 hfsc ls m2 1mbit ul m2 1mbit
qdisc add dev lo parent 1:1 fq_codel
filter add dev lo parent 1: protocol 802.1Q flower vlan_id 5 classid 1:1
""",
}


class LabError(Exception):
    """The lab failed, not the command; the text says what to do."""


class Stopped(Exception):
    """A signal told the lab to stop; its time limit is one, too."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def main(arguments: list[str]) -> int:
    options, command = parse(arguments)
    os.environ["PATH"] = with_sbin(os.environ.get("PATH", os.defpath))
    for signum in STOPPING:
        if signal.getsignal(signum) != signal.SIG_IGN:  # which nohup, say, has set
            signal.signal(signum, stop)
    signal.alarm(options.timeout)
    try:
        with tempfile.TemporaryDirectory(prefix="virtnet-qos-lab-") as directory:
            return run(Path(directory), command, options)
    except Stopped as stopped:
        if stopped.signum != signal.SIGALRM:
            return 128 + stopped.signum
        print(f"kernel lab: stopped at its time limit of {options.timeout} seconds", file=sys.stderr)
        return TIMED_OUT
    except BrokenPipeError:  # whoever read our output has gone
        return 128 + signal.SIGPIPE
    except (LabError, OSError, subprocess.SubprocessError) as error:
        print(f"kernel lab: {error}", file=sys.stderr)
        return LAB_FAILED


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] -- COMMAND [ARG...]", description="Run COMMAND in a kernel that has HFSC."
    )
    parser.add_argument("--timeout", type=positive, default=300, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--memory", type=positive, default=512, metavar="MiB", help="of UML; default: %(default)s")
    parser.add_argument("--kernel", choices=("auto", "uml", "running"), default="auto")
    parser.add_argument("--verbose", action="store_true", help="show the kernel's console at the end")
    # Split by hand: argparse would also eat a "--" that belongs to COMMAND.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    if not arguments[end + 1 :]:
        parser.error("a COMMAND is needed after --")
    return options, arguments[end + 1 :]


def positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError
    return number


def with_sbin(path: str) -> str:
    return os.pathsep.join([path, *(sbin for sbin in ("/usr/sbin", "/sbin") if sbin not in path.split(os.pathsep))])


def stop(signum: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped(signum)


def run(lab: Path, command: list[str], options: argparse.Namespace) -> int:
    kind = choose(options.kernel)
    outputs, inputs = zip(os.pipe(), os.pipe())
    if kind == "uml":
        start = uml(lab, options.memory, inputs)
        streams = ["/dev/ttyS0", "/dev/ttyS1"]
    else:
        start = namespaces("--net", "--mount", str(lab / "init"))
        streams = [f"/proc/self/fd/{fd}" for fd in inputs]
    write_job(lab, {"kind": kind, "command": command, "streams": streams})
    # So that whatever the lab leaves behind becomes our child, and is waited for.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with (lab / "console").open("wb") as console:
        process = subprocess.Popen(
            start, stdin=subprocess.DEVNULL, stdout=console, stderr=console, pass_fds=inputs, start_new_session=True
        )
    try:
        for fd in inputs:
            os.close(fd)
        relay(process.pid, dict(zip(outputs, (1, 2))))
    finally:
        kill(process)
        if options.verbose:
            show(lab / "console")
    status = lab / "status"
    if status.exists():
        return int(status.read_text(encoding="ascii"))
    if not options.verbose:
        show(lab / "console")
    raise LabError("the kernel ended before the command did: its console, above, says why")


def choose(kernel: str) -> str:
    if kernel == "uml":
        return "uml"
    lacks = running_kernel_lacks()
    if kernel == "running" and lacks:
        raise LabError(f"the running kernel will not do ({lacks}): use --kernel uml")
    return "uml" if lacks else "running"


def running_kernel_lacks() -> str:
    for name, batch in PROBES.items():
        probe = [tool("unshare"), *as_root(), "--net", tool(name), "-batch", "-"]
        tried = subprocess.run(probe, input=batch, capture_output=True, text=True, check=False, timeout=60)
        if tried.returncode:
            return f"{name}: {tried.stderr.strip() or tried.returncode}"
    return ""


def tool(name: str) -> str:
    path = shutil.which(name)
    if not path:
        raise LabError(f"{name} is missing: apt-get install {PACKAGES[name]}")
    return path


def as_root() -> list[str]:
    return ["--user", "--map-root-user"] if os.geteuid() else []


def namespaces(*rest: str) -> list[str]:
    """In a process namespace, so that all of the lab dies together, and dies with us."""
    return [
        *(tool("setpriv"), "--pdeathsig", "KILL"),
        *(tool("unshare"), *as_root(), "--pid", "--fork", "--kill-child", *rest),
    ]


def uml(lab: Path, memory: int, inputs: Sequence[int]) -> list[str]:
    linux = tool("linux.uml")
    for used_inside in ("ip", "modprobe"):
        tool(used_inside)
    version = subprocess.check_output([linux, "--version"], text=True, timeout=60).strip()
    modules = UML_MODULES / version
    if not (modules / "modules.dep.bin").exists():
        raise LabError(f"the modules of {linux} are missing ({modules}): apt-get install --reinstall user-mode-linux")
    (lab / "lib/modules").mkdir(parents=True)
    (lab / "lib/modules" / version).symlink_to(modules)
    allow_many_files()
    return namespaces(
        *(tool("unshare"), "--fork", "--kill-child"),  # a panic aborts, which a first process cannot
        *(linux, f"mem={memory}M", "rootfstype=hostfs", "rw", f"init={lab}/init", f"uml_dir={lab}/uml/"),
        *("con=null", "con0=null,fd:1", *(f"ssl{line}=null,fd:{fd}" for line, fd in enumerate(inputs))),
    )


def allow_many_files() -> None:
    """Every file open inside UML is open in its one process; and a panic must leave no core file."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def write_job(lab: Path, job: dict[str, object]) -> None:
    (lab / "tmp").mkdir()
    about = {"cwd": str(Path.cwd()), "environment": dict(os.environ), "hostname": socket.gethostname()}
    (lab / "job.json").write_text(json.dumps({**job, **about}), encoding="ascii")
    init = lab / "init"
    python = Path(sys.executable).resolve()
    init.write_text(f"#!{python} -ISB\nimport runpy\nrunpy.run_path({str(INIT)!r})['main']({str(lab)!r})\n")
    init.chmod(0o700)


def relay(pid: int, streams: dict[int, int]) -> None:
    """Pass the output on until its end, which the end of the lab's first process brings about in any case."""
    pidfd = os.pidfd_open(pid)
    with selectors.DefaultSelector() as selector:
        for fd in (pidfd, *streams):
            selector.register(fd, selectors.EVENT_READ)
        while streams:
            for key, _events in selector.select():
                chunk = b"" if key.fd == pidfd else os.read(key.fd, 65536)
                if chunk:
                    write(streams[key.fd], chunk)
                    continue
                selector.unregister(key.fd)
                if key.fd == pidfd:
                    kill_group(pid)
                else:
                    del streams[key.fd]


def write(fd: int, chunk: bytes) -> None:
    while chunk:
        try:
            chunk = chunk[os.write(fd, chunk) :]
        except BlockingIOError:  # some callers' pipes do not block
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_WRITE)
                selector.select()


def kill(process: subprocess.Popen[bytes]) -> None:
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_IGN)
    kill_group(process.pid)
    process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def kill_group(pid: int) -> None:
    """Only while `pid` has not been waited for, so that the number is still ours."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def show(console: Path) -> None:
    sys.stderr.write(console.read_text(encoding="utf-8", errors="replace"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
