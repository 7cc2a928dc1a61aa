"""Tell make how to compile and link against the Python that runs this script.

It must not build anything.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

# Debian builds these into libpython; where they are files, a static executable could not import them.
NEEDED = {
    "_datetime",
    "_socket",
    "_struct",
    "binascii",
    "fcntl",
    "grp",
    "math",
    "pwd",
    "select",
    "unicodedata",
    "zlib",
}


def static_library() -> Path | None:
    """Return the static libpython, or None where the distribution has none that suffices."""
    if not set(sys.builtin_module_names) >= NEEDED:
        return None
    name = f"libpython{sysconfig.get_config_var('LDVERSION')}.a"
    for key in ("LIBPL", "LIBDIR"):
        directory = sysconfig.get_config_var(key)
        if directory and (Path(directory) / name).exists():
            return Path(directory) / name
    return None


def has_snapshot() -> bool:
    """Whether csrc/snapshot.c knows this interpreter: later ones keep the thread's state in libc's memory."""
    return sys.version_info[:2] == (3, 11) and sys.maxsize > 1 << 32


def main() -> None:
    """Print the variables, as make reads them."""
    variable = sysconfig.get_config_var
    library = static_library()
    paths = sysconfig.get_paths()
    print(f"PY_CFLAGS := -isystem {paths['include']} -isystem {paths['platinclude']}")
    print(f"PY_EXT_SUFFIX := {variable('EXT_SUFFIX')}")
    print(f"PY_STATIC := {library or ''}")
    print(f"PY_SNAPSHOT := {'yes' if library and has_snapshot() else ''}")
    print(f"PY_SYSTEM_LIBS := -lexpat -lz -lm -ldl -lutil {variable('LIBS') or ''}")
    print(
        f"PY_SHARED := -L{variable('LIBDIR')} -Wl,-rpath,{variable('LIBDIR')} -lpython{variable('LDVERSION')}"
    )
    print(f"PY_STDLIB := {paths['stdlib']}")
    print(f"PY_DYNLOAD := {variable('DESTSHARED')}")


if __name__ == "__main__":
    main()
