"""Intel RDT: where the processor has it, its groups; where not, a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Make

HAS_RESCTRL = " - resctrl " in Path("/proc/self/mountinfo").read_text()
RESCTRL = Path("/sys/fs/resctrl")


@pytest.mark.skipif(HAS_RESCTRL, reason="resctrl is mounted here")
@pytest.mark.parametrize("clos_id", [None, "group", "/"])
def test_without_resctrl(container: Make, clos_id: str | None) -> None:
    c = container()
    c.bundle.linux["intelRdt"] = {"l3CacheSchema": "L3:0=f"} | (
        {"closID": clos_id} if clos_id else {}
    )
    result = c.create()
    if c.runtime.kind == "pyrunc":
        result.failed("/linux/intelRdt", "intelRdt", "resctrl is not mounted")
    assert result.status != 0
    c.nothing_left()


@pytest.mark.skipif(HAS_RESCTRL, reason="resctrl is mounted here")
def test_empty_object_asks_for_nothing(container: Make) -> None:
    c = container()
    c.bundle.linux["intelRdt"] = {}
    if c.runtime.kind == "pyrunc":
        c.run().ok()


@pytest.mark.skipif(not HAS_RESCTRL, reason="no resctrl is mounted here")
def test_group_of_the_container(container: Make) -> None:
    schemata = (RESCTRL / "schemata").read_text().split()
    c = container()
    c.bundle.linux["intelRdt"] = {"schemata": schemata, "enableMonitoring": True}
    c.running()
    assert str(c.pid) in (RESCTRL / c.id / "tasks").read_text().split()
    c.delete(force=True).ok()
    assert not (RESCTRL / c.id).exists()


@pytest.mark.skipif(not HAS_RESCTRL, reason="no resctrl is mounted here")
def test_group_that_is_not_there(container: Make) -> None:
    c = container()
    c.bundle.linux["intelRdt"] = {"closID": "nobody-made-this"}
    c.create().failed("/linux/intelRdt/closID")
    c.nothing_left()
