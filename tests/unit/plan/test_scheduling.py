"""Scheduling: what is asked of the kernel, by whom, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import FIXTURES, fixture, host, options

from pyrunc import numberlist
from pyrunc.plan import scheduling
from pyrunc.plan.build import build
from pyrunc.plan.describe import describe
from pyrunc.shim import constants as C
from pyrunc.spec import scheduling_rules


def lines(linux: dict[str, Any] | None = None, layout: str = "v2", **process: Any) -> list[str]:
    spec = fixture("minimal")
    spec["process"].update(process)
    spec["linux"].update(linux or {})
    return [describe(op) for op in build(spec, options(spec), host(layout)).ops]


def test_lines() -> None:
    scheduler = {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}
    scheduler["flags"] = ["SCHED_FLAG_RECLAIM"]
    policy = {"mode": "MPOL_INTERLEAVE", "nodes": "0-1,65", "flags": ["MPOL_F_STATIC_NODES"]}
    personality = {"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]}
    made = lines(
        {"memoryPolicy": policy, "personality": personality},
        scheduler=scheduler,
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 7},
    )
    wanted = [
        "schedule by SCHED_DEADLINE, runtime 1, deadline 2, period 3 (SCHED_FLAG_RECLAIM)",
        "set I/O priority IOPRIO_CLASS_BE 7",
        "set memory policy MPOL_INTERLEAVE of nodes 0,1,65 (MPOL_F_STATIC_NODES)",
        "set personality LINUX32 (ADDR_NO_RANDOMIZE)",
    ]
    at = made.index(wanted[0])
    assert made[at : at + 4] == wanted
    # With all capabilities still, but nothing of init's own work is slowed down.
    assert made.index("change to /, made if missing") < at
    assert at < next(n for n, line in enumerate(made) if line.startswith("keep in the bounding"))


def test_a_cpuset_is_waited_for() -> None:
    made = lines(layout="v1", scheduler={"policy": "SCHED_IDLE"})
    assert made[made.index("schedule by SCHED_IDLE") - 1] == "stage cgroup"
    assert "stage cgroup" not in lines(layout="v1")


def test_the_runtime_acts_where_init_has_a_user_namespace() -> None:
    identity = [{"containerID": 0, "hostID": 0, "size": 1}]
    linux = {"namespaces": [{"type": "user"}, {"type": "mount"}]}
    linux |= {"uidMappings": identity, "gidMappings": identity}
    made = lines(linux, scheduler={"policy": "SCHED_FIFO", "priority": 9})
    assert "for init: schedule by SCHED_FIFO, priority 9" in made
    assert "schedule by SCHED_FIFO, priority 9" not in made


@pytest.mark.parametrize(
    ("text", "mask"),
    [("0", 1), ("0-3,7", 0x8F), (" 1 , 2-2 ,", 6), ("1,1", 2), ("64", 1 << 64)],
)
def test_number_list(text: str, mask: int) -> None:
    assert numberlist.parse(text) == mask


@pytest.mark.parametrize("text", ["", ",", "-", "1-", "-1", "2-1", "a", "1 2", "0x1", "99999", "٣"])
def test_no_number_list(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        numberlist.parse(text)


def test_words_of_a_mask() -> None:
    assert scheduling.words(0) == []
    assert scheduling.words(1 << 63 | 1 << 64) == [1 << 63, 1]


def test_every_name_is_known_to_both_sides() -> None:
    assert set(C.PERSONALITY_FLAGS) == scheduling_rules.PERSONALITY_FLAGS
    assert {*scheduling_rules.WITH_NODES, *scheduling_rules.WITHOUT_NODES} < set(C.MEMORY_POLICIES)
    assert (FIXTURES / "scheduler-deadline.json").exists()
