"""spec: write the config.json that a new bundle begins with."""

from __future__ import annotations

import posix

from pyrunc import output
from pyrunc.errors import Failure, HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request

NAME = "config.json"


def run(request: Request) -> int:
    from pyrunc.jsontext import dumps
    from pyrunc.spec import template

    ids = (posix.geteuid(), posix.getegid()) if request.options["rootless"] else None
    config = template.build(cgroup2=_has_cgroup2_only(), rootless_ids=ids)
    bundle = request.options["bundle"]
    path = NAME if bundle in ("", ".") else f"{bundle}/{NAME}"
    try:
        # Never over an existing file, nor through a dangling link of that name.
        fd = posix.open(
            path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666
        )
    except FileExistsError:
        raise Failure(f"File {NAME} exists. Remove it first") from None
    except OSError as error:
        raise HostFailure(error.errno or 0, f'create "{path}"') from error
    try:
        output.write_fd(fd, output.encode(dumps(config, "\t") + "\n"))
    except OSError as error:
        posix.unlink(path)
        raise HostFailure(error.errno or 0, f'write "{path}"') from error
    finally:
        posix.close(fd)
    return 0


def _has_cgroup2_only() -> bool:
    """Return whether the root of all cgroups is one of version 2 (cgroups(7))."""
    try:
        posix.stat("/sys/fs/cgroup/cgroup.controllers")
    except OSError:
        return False
    return True
