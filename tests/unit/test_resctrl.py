"""Resctrl groups on a directory that stands for the file system, which most machines lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrunc import resctrl, updating
from pyrunc.errors import Failure, HostFailure
from pyrunc.plan import ops

MOUNTINFO = """\
23 28 0:21 / /proc rw - proc proc rw
40 28 0:44 / /sys/fs/resctrl rw,relatime shared:20 - resctrl resctrl rw
"""


def test_mount_point() -> None:
    assert resctrl.mount_point(MOUNTINFO) == "/sys/fs/resctrl"
    assert resctrl.mount_point(MOUNTINFO.partition("\n")[0]) is None
    assert resctrl.mount_point("") is None


def test_groups_are_made_filled_and_removed(tmp_path: Path) -> None:
    make = ops.create_resctrl_group("/linux/intelRdt/closID", "c", False)
    resctrl.carry_out(make, 0, str(tmp_path))
    resctrl.carry_out(make, 0, str(tmp_path))
    (tmp_path / "c/schemata").touch()
    (tmp_path / "c/tasks").touch()
    resctrl.carry_out(ops.write_schemata("/x", "c", "L3:0=f"), 0, str(tmp_path))
    resctrl.carry_out(ops.join_resctrl_group("/x", "c"), 77, str(tmp_path))
    assert (tmp_path / "c/schemata").read_text() == "L3:0=f\n"
    assert (tmp_path / "c/tasks").read_text() == "77"
    (tmp_path / "inner/mon").mkdir(parents=True)
    resctrl.remove([str(tmp_path / name) for name in ("inner", "inner/mon", "gone")])
    assert not (tmp_path / "inner").exists()


def test_the_kernel_says_more_than_errno(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info/last_cmd_status").write_text("non-hex character in the mask\n")
    (tmp_path / "c").mkdir()
    with pytest.raises(HostFailure, match="non-hex character in the mask") as caught:
        resctrl.carry_out(ops.write_schemata("/x", "c", "L3:0=x"), 0, str(tmp_path))
    assert caught.value.pointer == "/x"


def test_without_the_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resctrl, "read_or_empty", lambda _path: MOUNTINFO.partition("\n")[0])
    with pytest.raises(Failure, match="resctrl is not mounted"):
        resctrl.find("/linux/intelRdt")


def test_what_a_plan_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"1 2 0:3 / {tmp_path} rw - resctrl resctrl rw"
    monkeypatch.setattr(resctrl, "read_or_empty", lambda _path: line)
    (tmp_path / "there").mkdir()
    plan = [
        ops.create_resctrl_group("", name, False) for name in ("there", "new", "new/mon_groups/x")
    ]
    assert resctrl.missing_groups(plan) == [f"{tmp_path}/new", f"{tmp_path}/new/mon_groups/x"]
    with pytest.raises(Failure, match='group "wanted" is missing'):
        resctrl.missing_groups([ops.create_resctrl_group("", "wanted", True)])


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The group of a container "c", in a directory that stands for the file system."""
    line = f"1 2 0:3 / {tmp_path} rw - resctrl resctrl rw"
    monkeypatch.setattr(resctrl, "read_or_empty", lambda _path: line)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/schemata").write_text("L3:0=f\n")
    return tmp_path / "c"


@pytest.mark.parametrize("clos_id", [None, "c"])
def test_update(group: Path, clos_id: str | None) -> None:
    container_id = "c" if clos_id is None else "other"
    spec = {"linux": {"intelRdt": {"closID": clos_id, "schemata": ["L3:0=f"]}}}
    change = updating._Schemata(spec, container_id, {"l3CacheSchema": "L3:0=3"})
    change.write()
    assert (group / "schemata").read_text() == "L3:0=3\n"
    change.undo(Failure("x"))
    assert (group / "schemata").read_text() == "L3:0=f\n"


def test_update_of_a_group_that_is_gone(group: Path) -> None:
    spec = {"linux": {"intelRdt": {"schemata": ["L3:0=f"]}}}
    change = updating._Schemata(spec, "gone", {"memBwSchema": "MB:0=20"})
    with pytest.raises(HostFailure, match="gone/schemata"):
        change.write()
    assert (group / "schemata").read_text() == "L3:0=f\n"


@pytest.mark.parametrize("intel_rdt", [None, {}])
def test_update_without_a_group(intel_rdt: dict[str, str] | None) -> None:
    spec = {"linux": {"intelRdt": intel_rdt}}
    with pytest.raises(Failure, match="non-existent Intel RDT"):
        updating._Schemata(spec, "c", {"memBwSchema": "MB:0=20"})


def test_update_with_nothing_to_write(group: Path) -> None:  # noqa: ARG001
    spec = {"linux": {"intelRdt": {"schemata": ["L3:0=f"]}}}
    with pytest.raises(Failure, match="no schemata for l3CacheSchema: MB:0=20"):
        updating._Schemata(spec, "c", {"l3CacheSchema": "MB:0=20"})
