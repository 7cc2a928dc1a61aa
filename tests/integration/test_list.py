"""`list`: table, JSON, ids alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.signatures import Call, Make


def test_nothing(container: Make) -> None:
    c = container()
    c.root.mkdir()
    assert c.call("list", "-f", "json").ok().out in ("null\n", "[]\n")
    assert c.call("list", "-q").ok().out == ""
    assert len(c.call("list").ok().out.splitlines()) == 1


@pytest.mark.runc_fails("1.1 calls a missing --root an empty list")
def test_root_that_is_not_there(call: Call, tmp_path: Path) -> None:
    call("--root", str(tmp_path / "none"), "list").failed()


def test_table(container: Make) -> None:
    first, second = container().created(), container().running()
    lines = first.call("list").ok().out.splitlines()
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows[first.id][:4] == [first.id, str(first.pid), "created", str(first.bundle.path)]
    assert rows[second.id][2] == "running"
    assert rows[second.id][5] == "root"
    column = lines[0].index("STATUS")
    assert lines[1][column:].split()[0] in ("created", "running")


def test_json(container: Make) -> None:
    c = container().created()
    result = c.call("list", "--format", "json").ok()
    assert result.out.endswith("]\n")
    assert result.out.count("\n") == 1
    (entry,) = result.json()
    state = c.state()
    assert entry.pop("owner") == "root"
    state.pop("owner")
    assert entry == state


def test_ids(container: Make) -> None:
    made = [container().created() for _ in range(3)]
    assert made[0].call("list", "--quiet").ok().out.split() == sorted(one.id for one in made)


def test_stopped(container: Make) -> None:
    c = container().created()
    c.kill("KILL").ok()
    c.wait()
    (entry,) = c.call("list", "-f", "json").ok().json()
    assert (entry["status"], entry["pid"]) == ("stopped", 0)


def test_entry_that_cannot_be_read(container: Make) -> None:
    """One broken state does not hide the others."""
    c = container().created()
    broken = c.root / "broken"
    broken.mkdir()
    (broken / "state.json").write_text("{")
    result = c.call("list", "-q")
    assert result.status == 0
    assert c.id in result.out.split()
    c.call("state", "broken").failed()
    shutil.rmtree(broken)


@pytest.mark.runc_fails("what a killed runtime left of a create cannot be deleted")
def test_half_made_entry_is_removed_by_force(container: Make) -> None:
    c = container()
    (c.root / "half").mkdir(parents=True)
    c.call("delete", "--force", "half").ok()
    assert not (c.root / "half").exists()


def test_unknown_format(container: Make) -> None:
    c = container()
    c.root.mkdir()
    c.call("list", "-f", "yaml").failed("invalid format option")
