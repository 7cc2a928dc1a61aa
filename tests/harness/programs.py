"""Decides how the C programs of the tests are compiled; must not know what they are used for."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def probe() -> Path:
    """The static probe program, compiled once for each version of its source."""
    source = HERE / "probe.c"
    compiler = "musl-gcc" if shutil.which("musl-gcc") else "gcc"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    directory = HERE.parents[1] / "build" / "tests"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / f"probe-{digest}"
    if not program.exists():
        unfinished = directory / f"probe-{os.getpid()}"
        command = [
            compiler,
            "-static",
            "-O1",
            "-Wall",
            "-Wextra",
            "-o",
            str(unfinished),
            str(source),
        ]
        subprocess.run(command, check=True)
        unfinished.rename(program)
    return program


def busybox() -> Path | None:
    """A static busybox of this machine, or None."""
    for candidate in ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"):
        if os.path.exists(candidate):
            return Path(candidate)
    return None
