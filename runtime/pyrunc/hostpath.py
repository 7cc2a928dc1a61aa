"""Decides how a path that the caller gave is meant: from the current directory.

It must not be used for paths in a rootfs, where ".." and symbolic links are the container's to set.
"""

from __future__ import annotations

import posix

from pyrunc.errors import HostFailure


def absolute(path: str) -> str:
    """Return `path` from the root, without ".", ".." and double slashes; as Go's filepath.Abs, by
    its text.
    """
    if not path.startswith("/"):
        try:
            path = f"{posix.getcwd()}/{path}"
        except OSError as error:
            raise HostFailure(error.errno or 0, "find the current directory") from error
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
