"""Makes the programs of OCI runtime-tools with the Go tool, and the root file system that they unpack, under build/.

It must not run any of them. What is made needs neither Go nor this machine, so a virtual machine can use it.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
MODULE = "github.com/opencontainers/runtime-tools"
# Commit 0105384 of 2022 itself is not among the versions that the module proxy has. This is the last
# one before it that is; it has the same validation programs and the same runtimetest, as has the
# next one after it (2e043c6bd626), and one name less ("statx") in a default seccomp profile.
VERSION = "v0.9.1-0.20220110225228-7e2d60f1e41f"
BUSYBOX = Path("/bin/busybox")


class Missing(Exception):
    """What has to be installed; the text says how."""


def place() -> Path:
    """The directory that the validation programs have to be started in."""
    return TREE / "build" / "runtime-tools" / VERSION


def names() -> list[str]:
    """Every validation program that was made."""
    return sorted(path.name for path in (place() / "validation").iterdir())


def make(tests: list[str]) -> None:
    """Makes what is not there yet; an interrupted run leaves nothing that looks complete."""
    done = place() / ".ready"
    if done.exists():
        return
    shutil.rmtree(place(), ignore_errors=True)
    (place() / "validation").mkdir(parents=True)
    go = _go()
    _install(go, [f"validation/{name}" for name in tests], place() / "validation")
    _install(go, ["cmd/runtimetest", "cmd/oci-runtime-tool"], place())
    architecture = _output([go, "env", "GOARCH"])
    _root_file_system(place() / f"rootfs-{architecture}.tar.gz")
    done.touch()


def _go() -> str:
    go = os.environ.get("GO") or shutil.which("go")
    if not go:
        raise Missing(
            "no Go tool on PATH: install Debian's golang-go (1.19 is enough), or set GO to one"
        )
    return go


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _install(go: str, packages: list[str], directory: Path) -> None:
    # runtimetest runs inside of containers that have no C library, the others where nothing else
    # of this machine is.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(directory), "GOFLAGS": ""}
    command = [go, "install", "-trimpath", "-ldflags=-s -w"]
    command += [f"{MODULE}/{package}@{VERSION}" for package in packages]
    found = subprocess.run(command, env=environment, cwd="/", stderr=subprocess.PIPE, text=True)
    if found.returncode:
        raise Missing(f"{go} install of {MODULE}@{VERSION} failed:\n{found.stderr.strip()}")


def _root_file_system(path: Path) -> None:
    """The archive that each test unpacks for its bundle: busybox under every name that it has."""
    if not BUSYBOX.exists():
        raise Missing(f"{BUSYBOX} is missing: install Debian's busybox-static")
    with tarfile.open(path, "w:gz") as archive:

        def add(name: str, kind: bytes, mode: int, content: bytes = b"", link: str = "") -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), link
            archive.addfile(entry, io.BytesIO(content))

        for directory in (".", "bin", "dev", "etc", "proc", "sys", "tmp"):
            add(directory, tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755)
        add("bin/busybox", tarfile.REGTYPE, 0o755, BUSYBOX.read_bytes())
        for name in _output([str(BUSYBOX), "--list"]).split():
            if name != "busybox":
                add(f"bin/{name}", tarfile.SYMTYPE, 0o777, link="busybox")
        add("etc/passwd", tarfile.REGTYPE, 0o644, b"root:x:0:0:root:/root:/bin/sh\n")
        add("etc/group", tarfile.REGTYPE, 0o644, b"root:x:0:\n")
