"""Decides what of the host is watched while hostile bundles run; must not test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import programs
from harness.decoy import Decoy
from harness.runtime import Runtime

GUARDED = ("core_pattern", "modprobe", "sysrq", "poweroff_cmd", "hotplug")


@pytest.fixture
def decoy(leaks: object, runtime: Runtime, tmp_path: Path) -> Iterator[Decoy]:  # noqa: ARG001
    """A host directory that must not change."""
    made = Decoy(tmp_path / "decoy")
    yield made
    if runtime.kind == "pyrunc":  # of others the tests themselves tell, with the reason
        made.untouched()


def settings() -> dict[str, str]:
    paths = [Path("/proc/sys/kernel", name) for name in GUARDED]
    return {path.name: path.read_text() for path in paths if path.exists()}


@pytest.fixture(autouse=True)
def kernel_settings(leaks: object) -> Iterator[None]:  # noqa: ARG001
    """What a container escape would write to is as before."""
    before = settings()
    yield
    assert settings() == before


@pytest.fixture
def swap(leaks: object) -> Iterator[Callable[[Path, Path], None]]:  # noqa: ARG001
    """Exchanges two paths all the time, as an attacker in another container would."""
    attackers: list[subprocess.Popen[bytes]] = []

    def begin(one: Path, other: Path) -> None:
        attackers.append(
            subprocess.Popen([str(programs.probe()), "exchange", str(one), str(other)])
        )

    yield begin
    for attacker in attackers:
        attacker.kill()
        attacker.wait()
