# SPDX-License-Identifier: Apache-2.0
"""Decides that the parts of pyrunc-init hold under AddressSanitizer; must not run the executable."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "csrc"
WARNINGS = (
    "-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror".split()
)
SANITIZERS = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all".split()


def compile_and_run(name: str, directory: Path) -> subprocess.CompletedProcess[str]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    parts = [path for path in sorted((SOURCE / "init").glob("*.c")) if path.name != "main.c"]
    program = directory / name
    built = subprocess.run(
        [
            *(compiler, "-std=gnu11", *WARNINGS, *SANITIZERS, f"-I{SOURCE}", "-o", program),
            *(HERE / f"{name}.c", *parts, SOURCE / "plan_buffer.c", "-pthread"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find -lasan" in built.stderr or "cannot find -lubsan" in built.stderr:
        pytest.skip("no sanitizer libraries")
    assert built.returncode == 0, built.stderr
    where = directory / "here"
    where.mkdir()
    return subprocess.run(
        [program], cwd=where, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("name", ["plan_check", "path_resolve", "copy_up"])
def test_part(name: str, tmp_path: Path) -> None:
    result = compile_and_run(name, tmp_path)
    assert result.returncode == 0, result.stderr
