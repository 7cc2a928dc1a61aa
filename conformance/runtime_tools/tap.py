"""Judges what a validation program printed, in the Test Anything Protocol. It must not know any test."""

from __future__ import annotations

import re
from typing import NamedTuple

_RESULT = re.compile(r"(not )?ok\b *\d*[ -]*([^#]*)(?:# *(SKIP|TODO)\b *(.*))?", re.IGNORECASE)
_ERROR = re.compile(r"""\s*["']?error["']?: *(.*)""")


class Verdict(NamedTuple):
    """`outcome` is "pass", "fail" or "skip"; `reason` is the first thing that was wrong, "" for a pass."""

    outcome: str
    reason: str


def judge(output: str, status: int, errors: str = "") -> Verdict:
    """What a program that printed `output` and ended with `status` found.

    A result line that says "not ok" is a failure, unless it is marked as TODO. Some programs print
    no result line when all is well, some nothing at all, and only an "error" in a YAML block when
    something is not. A program that fails on the way says so on standard error (`errors`) and with
    its exit status.
    """
    passed, skipped, complaint, failed = 0, "", "", ""
    for line in output.splitlines():
        if (error := _ERROR.fullmatch(line)) and not complaint:
            complaint = error[1].strip("\"' ") or "an error without a text"
        elif result := _RESULT.fullmatch(line):
            bad, text, directive, note = result.groups()
            if (directive or "").upper() == "SKIP":
                skipped = skipped or note or text.strip() or "skipped"
            elif not bad:
                passed += 1
            elif (directive or "").upper() != "TODO":
                failed = failed or text.strip() or "not ok"
    last = (errors.strip().splitlines() or [""])[-1]
    if failed:
        return Verdict("fail", failed)
    if status:
        return Verdict("fail", last or f"exit status {status}")
    if passed:
        return Verdict("pass", "")
    if skipped:
        return Verdict("skip", skipped)
    if complaint:
        return Verdict("fail", complaint)
    return Verdict("pass", "")
