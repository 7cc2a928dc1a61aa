"""The executable is one file: it needs no Python, no environment and no other file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.runtime import Runtime

BUSYBOX = shutil.which("busybox")


@pytest.fixture
def executable() -> Path:
    runtime = Runtime()
    if runtime.kind != "pyrunc":
        pytest.skip(f"{runtime.path} is {runtime.kind}: these tests are about pyrunc's executable")
    return Path(runtime.path)


def call(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [str(word) for word in words], capture_output=True, text=True, timeout=60, **options
    )


def help_of(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_works_without_environment_through_a_link_and_under_another_name(
    executable: Path, tmp_path: Path
) -> None:
    link, copy = tmp_path / "link", tmp_path / "runc"
    link.symlink_to(executable)
    shutil.copy(executable, copy)
    expected = call(executable, "--version").stdout
    assert expected.startswith("pyrunc version ")
    for path in (link, copy):
        assert call(path, "--version", env={}, cwd="/proc/self").stdout == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot")
@pytest.mark.skipif(BUSYBOX is None, reason="needs busybox")
@pytest.mark.parametrize(
    "words", [["--version"], ["features"], ["spec"], ["validate"]], ids=" ".join
)
def test_works_where_nothing_else_is(executable: Path, tmp_path: Path, words: list[str]) -> None:
    assert BUSYBOX is not None
    (tmp_path / "bin").mkdir()
    shutil.copy(BUSYBOX, tmp_path / "bin/sh")
    shutil.copy(executable, tmp_path / "bin/pyrunc")
    if words == ["validate"]:
        # The list of every problem is jsonschema's: from the archive inside of the executable.
        (tmp_path / "config.json").write_text('{"ociVersion": 1, "process": {"args": "x"}}')
    result = call("/bin/sh", "-c", 'cd / && exec "$@"', "sh", "/bin/pyrunc", *words,
                  env={}, preexec_fn=lambda: os.chroot(tmp_path))  # fmt: skip
    if words == ["validate"]:
        assert result.returncode == 1
        assert "/ociVersion" in result.stdout + result.stderr
        assert "/process/args" in result.stdout + result.stderr
    else:
        help_of(result)
    assert "Traceback" not in result.stderr


def test_reads_no_file_but_its_own_to_start(executable: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    result = call("strace", "-f", "-e", "trace=open,openat,openat2", executable, "--version")
    opened = [line for line in result.stderr.splitlines() if "open" in line.split("(")[0]]
    assert opened == []


def test_output_that_cannot_be_written_is_a_failure(executable: Path) -> None:
    with open("/dev/full", "w") as full:
        for words in (["--version"], ["features"], ["--help"]):
            process = subprocess.run([executable, *words], stdout=full, stderr=subprocess.PIPE)
            assert process.returncode != 0, words
