"""Decides what each mount option means: attributes, superblock flags, propagation, or data.

It must not know file systems: what the table lacks is data, for the file system to judge.
"""

from __future__ import annotations

from pyrunc.record import record
from pyrunc.shim.constants import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_RELATIME,
    MOUNT_ATTR_STRICTATIME,
    MS_DIRSYNC,
    MS_I_VERSION,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SET, CLEAR, ATIME, SB_SET, SB_CLEAR, PROPAGATION, WORD, IDMAP = range(8)

# "norelatime" and "nostrictatime" name what the kernel does by default, MOUNT_ATTR_RELATIME, since
# it knows four modes of access times and no wish to have any but one (mount_setattr(2)).
TABLE = {
    "async": (SB_CLEAR, MS_SYNCHRONOUS),
    "atime": (ATIME, MOUNT_ATTR_RELATIME),
    "bind": (WORD, 0),
    "copy-symlink": (WORD, 0),
    "defaults": (WORD, 0),
    "dest-nofollow": (WORD, 0),
    "dev": (CLEAR, MOUNT_ATTR_NODEV),
    "diratime": (CLEAR, MOUNT_ATTR_NODIRATIME),
    "dirsync": (SB_SET, MS_DIRSYNC),
    "exec": (CLEAR, MOUNT_ATTR_NOEXEC),
    "idmap": (IDMAP, 0),
    "iversion": (SB_SET, MS_I_VERSION),
    "lazytime": (SB_SET, MS_LAZYTIME),
    "loud": (SB_CLEAR, MS_SILENT),
    "mand": (SB_SET, MS_MANDLOCK),
    "noatime": (ATIME, MOUNT_ATTR_NOATIME),
    "nodev": (SET, MOUNT_ATTR_NODEV),
    "nodiratime": (SET, MOUNT_ATTR_NODIRATIME),
    "noexec": (SET, MOUNT_ATTR_NOEXEC),
    "noiversion": (SB_CLEAR, MS_I_VERSION),
    "nolazytime": (SB_CLEAR, MS_LAZYTIME),
    "nomand": (SB_CLEAR, MS_MANDLOCK),
    "norelatime": (WORD, 0),
    "nostrictatime": (ATIME, MOUNT_ATTR_RELATIME),
    "nosuid": (SET, MOUNT_ATTR_NOSUID),
    "nosymfollow": (SET, MOUNT_ATTR_NOSYMFOLLOW),
    "private": (PROPAGATION, MS_PRIVATE),
    "rbind": (WORD, 0),
    "relatime": (ATIME, MOUNT_ATTR_RELATIME),
    "remount": (WORD, 0),
    "ridmap": (IDMAP, 0),
    "ro": (SET, MOUNT_ATTR_RDONLY),
    "rprivate": (PROPAGATION, MS_PRIVATE | MS_REC),
    "rshared": (PROPAGATION, MS_SHARED | MS_REC),
    "rslave": (PROPAGATION, MS_SLAVE | MS_REC),
    "runbindable": (PROPAGATION, MS_UNBINDABLE | MS_REC),
    "rw": (CLEAR, MOUNT_ATTR_RDONLY),
    "shared": (PROPAGATION, MS_SHARED),
    "silent": (SB_SET, MS_SILENT),
    "slave": (PROPAGATION, MS_SLAVE),
    "src-nofollow": (WORD, 0),
    "strictatime": (ATIME, MOUNT_ATTR_STRICTATIME),
    "suid": (CLEAR, MOUNT_ATTR_NOSUID),
    "symfollow": (CLEAR, MOUNT_ATTR_NOSYMFOLLOW),
    "sync": (SB_SET, MS_SYNCHRONOUS),
    "tmpcopyup": (WORD, 0),
    "unbindable": (PROPAGATION, MS_UNBINDABLE),
}

# Recursive twins, set with AT_RECURSIVE.
RECURSIVE_TABLE = {
    "ratime": (ATIME, MOUNT_ATTR_RELATIME),
    "rdev": (CLEAR, MOUNT_ATTR_NODEV),
    "rdiratime": (CLEAR, MOUNT_ATTR_NODIRATIME),
    "rexec": (CLEAR, MOUNT_ATTR_NOEXEC),
    "rnoatime": (ATIME, MOUNT_ATTR_NOATIME),
    "rnodev": (SET, MOUNT_ATTR_NODEV),
    "rnodiratime": (SET, MOUNT_ATTR_NODIRATIME),
    "rnoexec": (SET, MOUNT_ATTR_NOEXEC),
    "rnorelatime": (ATIME, MOUNT_ATTR_RELATIME),
    "rnostrictatime": (ATIME, MOUNT_ATTR_RELATIME),
    "rnosuid": (SET, MOUNT_ATTR_NOSUID),
    "rnosymfollow": (SET, MOUNT_ATTR_NOSYMFOLLOW),
    "rrelatime": (ATIME, MOUNT_ATTR_RELATIME),
    "rro": (SET, MOUNT_ATTR_RDONLY),
    "rrw": (CLEAR, MOUNT_ATTR_RDONLY),
    "rstrictatime": (ATIME, MOUNT_ATTR_STRICTATIME),
    "rsuid": (CLEAR, MOUNT_ATTR_NOSUID),
    "rsymfollow": (CLEAR, MOUNT_ATTR_NOSYMFOLLOW),
}


@record
class MountOptions:
    """What the options of a mount ask for; of two that exclude each other the last holds.

    `attr_set`, `attr_clr`, `rec_set`, `rec_clr`: MOUNT_ATTR_*, where clearing comes before setting.
    `sb_flags`: MS_*. `propagation`: MS_* in the order of happening. `data`: what is no option of the
    table, one "key=value" or "key" each. `words`: those of the options that are none of these.
    `idmap`: the last option that asks for an id-mapped mount, perhaps with "=" and mappings.
    """

    attr_set: int
    attr_clr: int
    rec_set: int
    rec_clr: int
    sb_flags: int
    propagation: tuple[int, ...]
    data: tuple[str, ...]
    words: frozenset[str]
    idmap: str = ""


def parse(options: Sequence[str]) -> MountOptions:
    """Sort the options of a mount by what they mean."""
    attributes = (0, 0)
    recursive = (0, 0)
    sb_flags = 0
    propagation = []
    data: list[str] = []
    words = []
    idmap = ""
    for option in options:
        known = TABLE.get(option)
        if known is None:
            rec = RECURSIVE_TABLE.get(option)
            if rec is not None:
                recursive = _change(*recursive, *rec)
            elif option.startswith(("idmap=", "ridmap=")):
                idmap = option
            else:
                data += _split(option)
            continue
        kind, flag = known
        if kind == WORD:
            words.append(option)
        elif kind == IDMAP:
            idmap = option
        elif kind == PROPAGATION:
            propagation.append(flag)
        elif kind == SB_SET:
            sb_flags |= flag
        elif kind == SB_CLEAR:
            sb_flags &= ~flag
        else:
            attributes = _change(*attributes, kind, flag)
    return MountOptions(
        *attributes, *recursive, sb_flags, tuple(propagation), tuple(data), frozenset(words), idmap
    )


def _change(attr_set: int, attr_clr: int, kind: int, flag: int) -> tuple[int, int]:
    if kind == SET:
        return attr_set | flag, attr_clr & ~flag
    if kind == CLEAR:
        return attr_set & ~flag, attr_clr | flag
    # mount_setattr(2): a mode of access times is set only together with clearing all of them.
    return attr_set & ~MOUNT_ATTR__ATIME | flag, attr_clr | MOUNT_ATTR__ATIME


def _split(option: str) -> list[str]:
    """One string may hold several, as mount(2) takes them; quotes and escapes are not taken apart."""
    if "," not in option or '"' in option or "\\" in option:
        return [option] if option else []
    return [part for part in option.split(",") if part]
