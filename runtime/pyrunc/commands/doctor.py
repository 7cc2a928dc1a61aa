"""doctor: tell what this host can and cannot do for containers, and why."""

from __future__ import annotations

import posix

from pyrunc import doctor, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    """Print the findings; the status is 1 where ordinary containers cannot run."""
    from pyrunc.jsontext import dumps

    findings = doctor.examine(request.root)
    if request.options["json"]:
        documents = [
            {"check": one.check, "verdict": one.verdict, "text": one.text, "hint": one.hint}
            for one in findings
        ]
        output.write(dumps({"euid": posix.geteuid(), "findings": documents}, "  ") + "\n")
    else:
        width = max(len(one.check) for one in findings)
        for one in findings:
            output.write(f"{one.verdict:<8}{one.check:<{width}}  {one.text}\n")
            if one.hint:
                output.write(f"{'':<8}{'':<{width}}  hint: {one.hint}\n")
    return 1 if any(one.verdict == doctor.BROKEN for one in findings) else 0
