"""Many calls at once on one root."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make, Popen

CONTAINERS = 100
AT_ONCE = 16


def whole_life(c: Container) -> list[str]:
    """Creates, starts, ends and deletes one container; what went wrong."""
    complaints = []
    for step in ("create", "start", "state", "delete"):
        if step == "delete":
            result = c.delete(force=True)
        elif step == "state":
            result = c.call("state", c.id)
        else:
            result = getattr(c, step)()
        if result.status:
            complaints.append(f"{step}: {result.err}")
    return complaints


def test_hundred_containers(container: Make) -> None:
    made = [container("/bin/probe", "wait") for _ in range(CONTAINERS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        complaints = [text for texts in pool.map(whole_life, made) for text in texts]
    assert complaints == []
    assert [name for name in os.listdir(made[0].root) if not name.startswith(".")] == []


@pytest.mark.runc_fails(
    "1.1 looks whether the id is there and makes it later: several callers can win"
)
@pytest.mark.parametrize("attempt", range(5))
def test_race_for_one_id(container: Make, popen: Popen, attempt: int) -> None:
    """Exactly one wins, whichever; the winner's container is whole."""
    c = container("/bin/probe", "wait")
    c.bundle.write()
    arguments = ["--root", str(c.root), "create", "--bundle", str(c.bundle.path), c.id]
    output = c.work / "out"
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as out:
        racers = [popen(arguments, stdin=subprocess.DEVNULL, stdout=out) for _ in range(10)]
    errors = []
    for racer in racers:
        assert racer.stderr
        if racer.wait(kernel.PATIENCE):
            errors.append(racer.stderr.read().decode())
    assert len(errors) == 9, attempt
    assert all("already exists" in text and text.count("\n") == 1 for text in errors), errors
    assert c.status == "created"
    c.init = int(c.state()["pid"])
    assert kernel.children() == [c.init]
    c.start().ok()
    assert c.status == "running"


def test_delete_while_it_is_created(container: Make, popen: Popen) -> None:
    """A forced delete beside create leaves a whole container or none."""
    for _ in range(10):
        c = container("/bin/probe", "wait")
        c.bundle.write()
        create = popen(
            ["--root", str(c.root), "create", "--bundle", str(c.bundle.path), c.id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deletes = [popen(["--root", str(c.root), "delete", "--force", c.id]) for _ in range(3)]
        for process in (create, *deletes):
            process.wait(kernel.PATIENCE)
        c.delete(force=True).ok()
        c.nothing_left()


def test_many_deletes_of_one(container: Make, popen: Popen) -> None:
    c = container().running()
    deletes = [popen(["--root", str(c.root), "delete", "--force", c.id]) for _ in range(8)]
    for process in deletes:
        assert process.wait(kernel.PATIENCE) == 0
    c.nothing_left()


def test_list_and_state_while_others_come_and_go(container: Make, popen: Popen) -> None:
    made = [container("/bin/probe", "wait") for _ in range(12)]
    made[0].root.mkdir()
    with ThreadPoolExecutor(4) as pool:
        lives = [pool.submit(whole_life, c) for c in made]
        while not all(life.done() for life in lives):
            process = popen(["--root", str(made[0].root), "list", "-f", "json"])
            out, err = process.communicate(timeout=kernel.PATIENCE)
            assert process.returncode == 0, err
            assert out.endswith(b"\n")
    assert [text for life in lives for text in life.result()] == []
