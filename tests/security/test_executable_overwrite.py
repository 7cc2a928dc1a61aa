"""The runtime's file cannot be reached from a container (CVE-2019-5736)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.decoy import digest
from harness.signatures import Make, Popen


def test_executable_of_the_waiting_init(container: Make) -> None:
    """/proc/PID/exe of a created container is a sealed copy that no path leads to."""
    c = container().created()
    target = os.readlink(f"/proc/{c.pid}/exe")
    assert target != c.runtime.path
    with pytest.raises(
        OSError, match="Text file busy|Operation not permitted|Read-only|Permission"
    ):
        os.open(f"/proc/{c.pid}/exe", os.O_WRONLY)


def test_writing_through_proc_of_another_container(container: Make) -> None:
    """A container in the same pid namespace opens every /proc/PID/exe for writing while others are made."""
    before = digest(Path(container().runtime.path))
    attacker = container(
        "/bin/sh", "-c",
        "echo up; while :; do for i in /proc/[0-9]*/exe; do "
        "(echo x >>$i) 2>/dev/null && echo wrote $(readlink $i); done; done",
    )  # fmt: skip
    attacker.bundle.capabilities("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE")
    attacker.create().ok()
    attacker.start().ok()
    attacker.wait_for_output("up")
    for _ in range(30):
        victim = container("/bin/true")
        victim.bundle.namespace("pid", f"/proc/{attacker.pid}/ns/pid")
        victim.run().ok()
    attacker.delete(force=True).ok()
    assert digest(Path(attacker.runtime.path)) == before
    assert [
        line
        for line in attacker.out().splitlines()
        if line.startswith("wrote") and "/bin/" not in line
    ] == []


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe"])
def test_command_that_is_the_runtime_itself(container: Make, path: str) -> None:
    """A command that leads to /proc/self/exe would execute what made the container."""
    c = container("/bin/me", "--version")
    (c.bundle.rootfs / "bin/me").symlink_to(path)
    before = digest(Path(c.runtime.path))
    result = c.run()
    assert "version" not in result.out, "the runtime ran inside"
    assert digest(Path(c.runtime.path)) == before
    c.nothing_left()


def test_script_whose_interpreter_is_the_runtime_itself(container: Make) -> None:
    c = container("/bin/script")
    script = c.bundle.rootfs / "bin/script"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    before = digest(Path(c.runtime.path))
    result = c.run()
    assert "version" not in result.out
    assert digest(Path(c.runtime.path)) == before


def test_libraries_of_the_rootfs_are_not_loaded(container: Make) -> None:
    """Nothing that runs before execve loads code from the rootfs."""
    c = container("/bin/true")
    lib = c.bundle.rootfs / "lib/x86_64-linux-gnu"
    lib.mkdir(parents=True)
    for name in ("libseccomp.so.2", "libc.so.6", "libnss_files.so.2"):
        (lib / name).write_text("not a library")
    (c.bundle.rootfs / "etc/ld.so.preload").write_text("/lib/x86_64-linux-gnu/libc.so.6\n")
    c.run().ok()


def test_modules_of_the_bundle_are_not_imported(
    container: Make, tmp_path: Path, popen: Popen
) -> None:
    """The working directory is the bundle's, and its files are not code."""
    c = container("/bin/true")
    for name in ("posix", "json", "os", "pyrunc", "encodings", "site", "sitecustomize", "marshal"):
        (c.bundle.path / f"{name}.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\n")
    c.bundle.write()
    environment = {
        "PYTHONPATH": str(c.bundle.path),
        "PYTHONHOME": str(c.bundle.path),
        "PYTHONSTARTUP": "os.py",
    }
    c.call("run", c.id, cwd=c.bundle.path, env=environment).ok()
    c.call("list", cwd=c.bundle.path, env=environment).ok()
    c.call("--help", cwd=c.bundle.path, env=environment).ok()
    assert not (tmp_path / "pwned").exists()
    assert kernel.children() == []
    del popen
