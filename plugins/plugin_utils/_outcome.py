# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""What the runs of a module say, and what a task makes of them whose change was, or was not, confirmed."""

from __future__ import annotations

from typing import Any

NOT_STARTED = (126, 127)  # a shell's status for a program that it could not start
# What ssh and Ansible say if the module was never started: such a host is just unreachable.
NEVER_SENT = (
    "ssh: connect to host",
    "Could not resolve hostname",
    "Host key verification failed",
    "Permission denied (",
    "Failed to create temporary directory",
    "No space left on device",
)


def was_never_sent(error: str) -> bool:
    """Whether a connection failed before the module could begin."""
    return any(text in error for text in NEVER_SENT)


def is_no_answer(result: dict[str, Any]) -> bool:
    """Whether the module ended without a result: it was killed."""
    return result.get("_ansible_parsed") is False


def may_have_begun(result: dict[str, Any]) -> bool:
    """Whether one that ended without a result may have changed something before."""
    return is_no_answer(result) and result.get("rc") not in NOT_STARTED


def said(result: dict[str, Any]) -> str:
    """Return what a failed result says, in one line."""
    texts = (str(result.get(key) or "").strip() for key in ("module_stderr", "module_stdout", "msg"))
    # What cannot be templated has its place in a file below the reason.
    text = next(filter(None, texts), "no answer").partition("\n\nThe error appears to be in ")[0].splitlines()[-1]
    return f"{text}; exit status {result['rc']}" if is_no_answer(result) and "rc" in result else text


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the result of the change with what the confirmation adds to it."""
    result = {**second, **first, "confirmed": True}
    for key in ("warnings", "deprecations"):
        ours = first.get(key, [])
        if both := [*ours, *(each for each in second.get(key, []) if each not in ours)]:
            result[key] = both
    if second.get("failed"):  # it stands, but could not be kept for the next boot
        result.update({"failed": True, "msg": said(second)})
    return result


def unconfirmed(first: dict[str, Any], head: str, became: dict[str, Any], error: str, lost: bool) -> dict[str, Any]:
    """Return the result of a change that was not confirmed: what was tried, what became of it, and the way out.

    ``error`` says why the host could not be asked, ``lost`` that the change itself got no answer.
    """
    tail, changed = _ending(became, error, lost)
    kept = {key: value for key, value in first.items() if key != "exception"}  # Ansible would show that instead of msg
    return {**kept, "failed": True, "changed": changed, "confirmed": False, "msg": f"{head} {tail}"}


def _ending(became: dict[str, Any], error: str, lost: bool) -> tuple[str, bool]:
    """Return what became of it, in words, and whether anything is other than before."""
    outcome = became.get("outcome")
    if outcome == "restored":
        way = "Run it again." if lost else "If connecting only takes longer, raise confirm_timeout."
        without = "; ".join(became.get("lost", []))
        text = f"The host has brought back the tree from before{f', without {without}' if without else ''}. {way}"
        return text, bool(without)
    if outcome == "failed":
        log = str(became.get("log") or "").strip()
        return f"The host failed to bring back the tree from before: {log} Look at it, and run it again.", True
    if outcome == "rebooted":
        return (
            "The host was started again meanwhile, and has what its boot brings. Look at it, and run this again.",
            True,
        )
    if outcome == "unknown" and lost:
        return "The host knows nothing of it: nothing was changed. Run it again.", False
    if outcome == "unknown":
        text = (
            "The host knows nothing of it any more: it was started again, or got the confirmation and could not say so."
        )
        return f"{text} Look at what is there, and run it again.", True
    if outcome:
        text = "The host has not brought back the tree from before yet, and does so by itself."
    else:
        unless = "It" if lost else "Unless a confirmation reached it all the same, it"
        text = f"The host could not be asked what became of it ({error or 'no answer'})."
        text = f"{text} {unless} brings back the tree from before by itself."
    return f"{text} Look at what is there before running this again.", True
