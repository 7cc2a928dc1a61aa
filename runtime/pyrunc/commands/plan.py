"""plan: print what create would do, and do nothing."""

from __future__ import annotations

from pyrunc import output
from pyrunc.log import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request
    from pyrunc.plan.ops import Op

# Cgroups and the keyring are named after the container.
_DEFAULT_ID = "container"


def run(request: Request) -> int:
    from pyrunc.jsontext import dumps
    from pyrunc.launch import Launch

    asked = _as_create(request)
    # A console socket is for detached containers only.
    detach = asked.options["detach"] or asked.options["console_socket"] != ""
    operations = Launch(asked, detach).plan.ops
    if request.options["json"]:
        output.write(dumps([to_document(op) for op in operations], "  ") + "\n")
    else:
        output.write("".join([to_line(op) for op in operations]))
    return 0


def _as_create(request: Request) -> Request:
    """Return the request of the create that the plan is of."""
    from pyrunc.cli import Request, check_container_id

    container_id = request.args[0] if request.args else _DEFAULT_ID
    check_container_id(container_id)
    return Request(
        verb="plan",
        root=request.root,
        root_given=request.root_given,
        debug=request.debug,
        systemd_cgroup=request.systemd_cgroup,
        cgroup_manager=request.cgroup_manager,
        rootless=request.rootless,
        options={"pid_file": "", "pidfd_socket": "", **request.options},
        args=(container_id,),
    )


def side(op: Op) -> str:
    """Return who carries out `op`: "runtime", "init", or "both" where they wait for each other."""
    from pyrunc.plan.ops import RUNTIME_KINDS

    if op.kind == "stage":
        return "both"
    return "runtime" if op.kind in RUNTIME_KINDS else "init"


def to_line(op: Op) -> str:
    """Return `side text  (origin)` with a line end."""
    from pyrunc.plan.describe import describe

    origin = f"  ({op.origin})" if op.origin else ""
    return one_line(f"{side(op):<8}{describe(op)}{origin}") + "\n"


def to_document(op: Op) -> dict[str, Any]:
    from pyrunc.plan.describe import describe

    return {
        "side": side(op),
        "kind": op.kind,
        "origin": op.origin,
        "text": describe(op),
        "args": _plain(op.args),
    }


def _plain(value: Any) -> Any:
    """Return `value` with what JSON lacks replaced: bytes are hexadecimal text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
