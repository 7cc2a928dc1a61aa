"""Decides what container the tests of checkpoint and restore use, and how they drive it.

It must not judge more than that the container goes on: it counts, so that a restored process that had
begun anew, or lost a step, would show.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make

COUNT = "i=0; while :; do i=$((i+1)); echo $i >>/vol/counted; sleep 0.05; done"


def counted(volume: Path) -> list[int]:
    return [int(line) for line in (volume / "counted").read_text().split()]


def goes_on(volume: Path, after: int) -> None:
    kernel.wait_until(lambda: len(counted(volume)) > after, "more counted", 30.0)
    numbers = counted(volume)
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    (path / "counted").touch()
    return path


def give_volume(c: Container, volume: Path) -> None:
    (c.bundle.rootfs / "vol").mkdir()
    c.bundle.mounts.append(
        {"destination": "/vol", "type": "bind", "source": str(volume), "options": ["rbind", "rw"]}
    )


@pytest.fixture
def counter(container: Make, volume: Path) -> Container:
    """A container, not made yet, that counts into `volume`."""
    c = container("/bin/sh", "-c", COUNT)
    give_volume(c, volume)
    return c


def first(c: Container, script: str) -> None:
    """Have the container do something before it counts."""
    c.bundle.process["args"] = ["/bin/sh", "-c", f"{script}\n{COUNT}"]


def await_counting(volume: Path) -> int:
    kernel.wait_until(lambda: len(counted(volume)) > 3, "counting", 30.0)
    return len(counted(volume))


def begin(c: Container, volume: Path) -> int:
    c.run_detached().ok()
    return await_counting(volume)


def checkpoint(c: Container, images: Path, *options: str) -> None:
    assert c.init is not None
    c.call("checkpoint", "--image-path", str(images), *options, c.id).ok()


def reap(c: Container) -> None:
    """As the engine would: CRIU has killed the process that is our child."""
    assert c.init is not None
    os.waitpid(c.init, 0)
    c.init = None


def restore(
    c: Container,
    images: Path,
    *options: str,
    bundle: Path | None = None,
    stdin: int | None = None,
) -> None:
    pid_file = images.parent / "restored.pid"
    c.call(
        "restore", "--detach", "--pid-file", str(pid_file), "--image-path", str(images),
        *options, "--bundle", str(bundle or c.bundle.path), c.id, stdin=stdin,
    ).ok()  # fmt: skip
    c.init = int(pid_file.read_text())


def save_and_restore(c: Container, volume: Path, images: Path, *options: str) -> None:
    """Both with the same options; the container has gone on counting after."""
    checkpoint(c, images, *options)
    reap(c)
    before = len(counted(volume))
    restore(c, images, *options)
    goes_on(volume, before)
