"""Whole plans, as people read them. PYRUNC_WRITE_GOLDEN=1 writes the files anew, to be reviewed."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hosts import FIXTURES, LAYOUTS, fixture, host, options

from pyrunc.errors import HostFailure, SpecFailure
from pyrunc.plan import ops
from pyrunc.plan.build import Plan, build
from pyrunc.plan.describe import describe
from pyrunc.shim.constants import STAGE_READY

GOLDEN = Path(__file__).parent / "golden"
EVERYWHERE = ("runc-spec", "docker-nginx", "containerd-ctr-run", "minimal")
ONCE = (
    ("crio-pod", "v2"),
    ("devices-all-types", "v2"),
    ("docker-privileged", "v1"),
    ("docker-userns-remap", "v1"),
    ("hooks-all-kinds", "v1"),
    ("intel-rdt", "v2"),
    ("intel-rdt-root-group", "v2"),
    ("kubernetes-containerd-pod", "v2"),
    ("masked-and-readonly", "v2"),
    ("mounts-options", "v2"),
    ("namespaces-all-joined", "v2"),
    ("namespaces-all-new", "v1"),
    ("namespaces-all-new", "v2"),
    ("namespaces-none", "v2"),
    ("podman-host-network", "v2"),
    ("podman-run-tty", "v2"),
    ("propagation-shared", "v2"),
    ("rlimits-all", "v2"),
    ("seccomp-all", "v2"),
    ("sysctl-and-names", "v2"),
)
CASES = [(name, layout) for name in EVERYWHERE for layout in ("v1", "hybrid", "v2")] + list(ONCE)


def text(plan: Plan) -> str:
    lines = [f"{op.origin or '-'}: {describe(op)}" for op in plan.ops]
    lines += [f"warning {pointer}: {message}" for pointer, message in plan.warnings]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_plan_is_the_golden_one(name: str, layout: str) -> None:
    spec = fixture(name)
    found = text(build(spec, options(spec), host(layout)))
    path = GOLDEN / f"{name}.{layout}.plan.txt"
    if os.environ.get("PYRUNC_WRITE_GOLDEN") == "1":
        path.write_text(found)
    assert found == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{name}.{layout}.plan.txt" for name, layout in CASES}
    assert {path.name for path in GOLDEN.iterdir()} == wanted


def plans() -> list[tuple[str, dict[str, Any], Plan]]:
    """Every plan that can be made of the valid fixtures."""
    made = []
    for path in sorted(FIXTURES.glob("*.json")):
        for layout in LAYOUTS:
            spec = fixture(path.stem)
            before = copy.deepcopy(spec)
            try:
                plan = build(spec, options(spec), host(layout))
            except (SpecFailure, HostFailure):
                continue
            assert spec == before, path.name
            assert plan == build(spec, options(spec), host(layout)), path.name
            made.append((f"{path.name} on {layout}", spec, plan))
    return made


def test_every_plan_keeps_the_rules_of_both_sides() -> None:
    made = plans()
    assert len(made) > 100
    for name, spec, plan in made:
        kinds = [op.kind for op in plan.ops]
        assert (
            kinds.count("clone") == kinds.count("pivot_root") == kinds.count("execute") == 1
        ), name
        assert kinds[-1] == "execute", name
        clone = kinds.index("clone")
        for before in plan.ops[:clone]:
            assert before.kind in ops.RUNTIME_KINDS, name
        stages = [op.args[0] for op in plan.ops if op.kind == "stage"]
        assert stages == sorted(set(stages)), name
        assert stages[-1] == STAGE_READY, name
        # What the runtime does for init is done before init waits for the start.
        ready = max(index for index, op in enumerate(plan.ops) if op.kind == "stage")
        assert not [op for op in plan.ops[ready:] if op.kind in ops.RUNTIME_KINDS], name
        # Nothing that needs rights comes after they are gone.
        dropped = kinds.index("set_caps")
        allowed = {"change_dir", "load_seccomp", "no_new_privs", "stage", "await_start"}
        allowed |= {"hook", "close_fds", "execute"}
        assert set(kinds[dropped + 1 :]) <= allowed, name
        for op in plan.ops:
            if op.origin:
                assert_exists(spec, op.origin, name)
            assert describe(op), name


def assert_exists(spec: dict[str, Any], pointer: str, name: str) -> None:
    """The origin is a place in the config, or where a default stands for it."""
    value: Any = spec
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(token)]
        elif token in value:
            value = value[token]
        else:
            assert pointer.startswith(("/process/capabilities", "/linux/namespaces")), (
                name,
                pointer,
            )
            return
