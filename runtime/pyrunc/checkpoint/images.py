"""Decides where the image files and the logs of a checkpoint are.

It must not look into them.
"""

from __future__ import annotations

import posix

from pyrunc.errors import Failure, HostFailure
from pyrunc.hostpath import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# As runc's: in the directory where the command is called.
DEFAULT = "checkpoint"


class Directories:
    """`images` and `work` as absolute paths, `images_fd` and `work_fd` open."""

    def __init__(self, options: dict[str, Any], make: bool) -> None:
        self.images = absolute(options["image_path"] or DEFAULT)
        self.work = absolute(options["work_path"]) if options["work_path"] else self.images
        self.images_fd = _open(self.images, "image path", make)
        try:
            self.work_fd = _open(self.work, "work path", True)
        except Failure:
            posix.close(self.images_fd)
            raise

    def reopen(self) -> None:
        """Open both again, as the mount namespace has them that was entered meanwhile.

        CRIU mounts below its working directory, which the kernel refuses in a mount of another
        namespace (mount(2), EINVAL).
        """
        self.close()
        self.images_fd = _open(self.images, "image path", False)
        self.work_fd = _open(self.work, "work path", False)

    def log(self, name: str) -> str:
        return f"{self.work}/{name}"

    def close(self) -> None:
        for fd in (self.images_fd, self.work_fd):
            if fd >= 0:
                posix.close(fd)
        self.images_fd = self.work_fd = -1


def _open(path: str, noun: str, make: bool) -> int:
    try:
        if make:
            _make(path)
        return posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'open {noun} "{path}"') from error


def _make(path: str) -> None:
    """Make the directory and those above it; memory of processes is nobody's but root's."""
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make(path.rpartition("/")[0] or "/")
        posix.mkdir(path, 0o700)


def check_parent(images: str, parent: str) -> None:
    """Raise HostFailure unless `parent` is, from the image directory, another directory."""
    try:
        fd = posix.open(f"{images}/{parent}", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'open parent path "{images}/{parent}"') from error
    posix.close(fd)
