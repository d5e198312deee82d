# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds and caches images: a disk, a kernel and two initramfs in one directory that appears only when it is whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from . import paths, progress, recipe, state
from .errors import LabError, require
from .locks import held

BUILD_TIMEOUT = 1800.0
# What firmware and kernels send to a console is not meant for the terminal of whoever reads it.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Image:
    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinux"

    @property
    def host_initramfs(self) -> Path:
        return self.directory / "host.cpio"

    @property
    def guest_initramfs(self) -> Path:
        return self.directory / "guest.cpio"


def current(release: str) -> Image:
    """The image that the recipe of today makes; it need not be built yet."""
    return Image(paths.images() / recipe.name(release))


def ensure(release: str) -> Image:
    """The image of the release, built if the cache lacks it."""
    image = current(release)
    if image.directory.is_dir():
        return image
    if os.geteuid() != 0:
        raise LabError(f"building the {release} image unpacks a Debian system, which needs root: sudo, once")
    require("mmdebstrap", "mke2fs")
    with _building(release, BUILD_TIMEOUT):
        if not image.directory.is_dir():
            _build(release, image)
    return image


def _building(release: str, timeout: float) -> AbstractContextManager[None]:
    return held(paths.images() / f"{release}.lock", f"{release} image: another build of it is under way", timeout)


def _build(release: str, image: Image) -> None:
    work = paths.images() / f"building-{release}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    root, log = work / "root", paths.images() / f"{release}.log"
    fresh = Image(work / "image")
    fresh.directory.mkdir()
    log.unlink(missing_ok=True)
    progress.say(f"{release} image: Debian is unpacked (log: {log})")
    packages = ",".join(recipe.PACKAGES)
    _run(
        f"{release} image: mmdebstrap",
        [
            *("mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", f"--include={packages}"),
            *(
                "--dpkgopt=force-unsafe-io",
                f"--customize-hook={recipe.HOOK}",
                *recipe.RELEASES[release],
                release,
                str(root),
            ),
        ],
        log,
    )
    progress.say(f"{release} image: the disk is written")
    _run(
        f"{release} image: mke2fs",
        ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(fresh.disk), recipe.DISK_SIZE],
        log,
    )
    for target in (fresh.kernel, fresh.host_initramfs, fresh.guest_initramfs):
        shutil.copy(root / "boot" / f"lab-{target.name}", target)
    fresh.directory.rename(image.directory)
    shutil.rmtree(work)
    _remove_old(release, image)
    progress.say(f"{release} image: ready, {image.directory}")


def _run(what: str, command: list[str], log: Path) -> None:
    environment = {**os.environ, "LAB_OFFLINE_PACKAGES": " ".join(recipe.OFFLINE_PACKAGES), "LC_ALL": "C.UTF-8"}
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment
        )
        try:
            progress.wait(what, lambda: process.poll() is not None, BUILD_TIMEOUT)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise LabError(f"{what} failed with status {process.returncode}; the end of {log}:\n{tail(log)}")


def tail(path: Path, lines: int = 25) -> str:
    if not path.exists():
        return "(nothing)"
    text = "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return CONTROL.sub("", text)


def _remove_old(release: str, current: Image) -> None:
    used = {Path(host.image) for host in state.all_hosts() if host.alive()}
    for directory in paths.images().glob(f"{release}-*"):
        if directory != current.directory and directory not in used:
            shutil.rmtree(directory)


def clean() -> None:
    running = [host.name for host in state.all_hosts() if host.alive()]
    if running:
        raise LabError(f"hosts run on the images: {', '.join(running)}; end them first with: down --all")
    for release in recipe.RELEASES:
        with _building(release, timeout=1):
            for directory in (*paths.images().glob(f"{release}-*"), *paths.images().glob(f"building-{release}")):
                shutil.rmtree(directory)
