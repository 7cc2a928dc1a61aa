"""plan: print what create would do, and do nothing."""

from __future__ import annotations

import posix

from pyrunc import output
from pyrunc.errors import HostFailure
from pyrunc.hostpath import absolute
from pyrunc.log import one_line
from pyrunc.shim.constants import S_IFDIR, S_IFMT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request
    from pyrunc.launch import Launch
    from pyrunc.plan.ops import Op

# Cgroups and the keyring are named after the container.
_DEFAULT_ID = "container"


def run(request: Request) -> int:
    from pyrunc.jsontext import dumps

    other = request.options["diff"] and absolute(request.options["diff"])
    launch = _launch(request, {})
    if other:
        return _diff(launch, _launch(request, _place(other)))
    operations = launch.plan.ops
    if request.options["json"]:
        output.write(dumps([to_document(op) for op in operations], "  ") + "\n")
    else:
        output.write("".join([to_line(op) for op in operations]))
    return 0


def _launch(request: Request, options: dict[str, str]) -> Launch:
    from pyrunc.launch import Launch

    asked = _as_create(request, options)
    # A console socket is for detached containers only.
    detach = asked.options["detach"] or asked.options["console_socket"] != ""
    return Launch(asked, detach)


def _place(path: str) -> dict[str, str]:
    """Return the options that name a bundle, or a config file for the same bundle."""
    try:
        directory = posix.stat(path).st_mode & S_IFMT == S_IFDIR
    except OSError as error:
        raise HostFailure(error.errno or 0, f'look at "{path}"') from error
    return {"bundle": path} if directory else {"config": path}


def _diff(first: Launch, second: Launch) -> int:
    """Print the operations that only one of the two plans has; status 1 where there are any.

    Compared is the effect: places in config.json do not count, nor do the bundle's own paths, so
    that a copy of a bundle does not differ from it.
    """
    from pyrunc.shim import initialize_main

    initialize_main()
    import difflib

    lines = list(difflib.ndiff(_effects(first), _effects(second)))
    changed = [line for line in lines if line[:2] in ("- ", "+ ")]
    output.write("".join([f"{line}\n" for line in changed]))
    return 1 if changed else 0


def _effects(launch: Launch) -> list[str]:
    from pyrunc.plan.describe import describe

    return [
        f"{side(op):<8}{one_line(describe(op))}".replace(launch.rootfs, "ROOTFS").replace(
            launch.bundle + "/", "BUNDLE/"
        )
        for op in launch.plan.ops
    ]


def _as_create(request: Request, options: dict[str, str]) -> Request:
    """Return the request of the create that the plan is of."""
    from pyrunc.cli import Request, check_container_id

    container_id = request.args[0] if request.args else _DEFAULT_ID
    check_container_id(container_id)
    return Request(
        verb="plan",
        root=request.root,
        root_given=request.root_given,
        debug=request.debug,
        cgroup_manager=request.cgroup_manager,
        rootless=request.rootless,
        options={"pid_file": "", "pidfd_socket": "", "trace": "", **request.options, **options},
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
