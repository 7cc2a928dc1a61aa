"""Whatever config is accepted can be planned, or is refused at a place: no plan ends in a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import judges
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import mutated

from pyrunc.cgroup.layout import CgroupLayout, Hierarchy
from pyrunc.errors import Failure, SpecFailure
from pyrunc.host import Host
from pyrunc.plan import build
from pyrunc.plan.describe import describe
from pyrunc.spec import load

V1 = tuple(
    Hierarchy(name, (name,), f"/sys/fs/cgroup/{name}", "/own")
    for name in (
        "memory",
        "cpu",
        "cpuset",
        "pids",
        "blkio",
        "devices",
        "hugetlb",
        "freezer",
        "rdma",
        "net_cls",
        "net_prio",
    )
)
LAYOUTS = (
    CgroupLayout("v1", None, "", (), V1),
    CgroupLayout("v2", "/sys/fs/cgroup", "/own", ("memory", "cpu", "pids", "io", "cpuset"), ()),
)


def plan(config: Any, layout: CgroupLayout) -> None:
    """Accept and plan; the place of a refusal must lie in the config or be what it lacks."""
    try:
        spec, _ = load.accept(judges.without_nulls(config))
        options = build.CreateOptions(
            id="c",
            bundle="/b",
            rootfs="/b/rootfs",
            detach=True,
            terminal=spec["process"]["terminal"],
            has_console_socket=spec["process"]["terminal"],
            no_pivot=False,
            no_new_keyring=False,
            preserve_fds=0,
            rootless=False,
        )
        host = Host(0, 0, (6, 1), 40, (1 << 41) - 1, False, False, False, True, layout)
        for op in build.build(spec, options, host).ops:
            assert describe(op)
            assert op.origin == "" or op.origin.startswith("/")
    except Failure as failure:
        assert isinstance(failure, SpecFailure), failure


@pytest.mark.parametrize("layout", LAYOUTS, ids=["v1", "v2"])
@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in judges.FIXTURES.glob("valid/*.json")]
)
def test_valid_fixtures(path: Path, layout: CgroupLayout) -> None:
    plan(judges.load(path), layout)


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(config=mutated())
def test_mutations(config: Any) -> None:
    for layout in LAYOUTS:
        plan(config, layout)
