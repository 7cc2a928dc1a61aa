"""The config that a new bundle begins with, beside the one that runc writes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import judges
import pytest

from pyrunc.spec import load, rules, template

VARIANTS: list[dict[str, Any]] = [
    {"cgroup2": False},
    {"cgroup2": True},
    {"cgroup2": True, "rootless_ids": (1000, 1001)},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_accepted_without_a_warning(variant: dict[str, Any]) -> None:
    config = template.build(**variant)
    assert judges.hot(config) is None
    assert rules.apply(config) == []
    load.accept(config)


def test_calls_share_nothing() -> None:
    first = template.build(cgroup2=False)
    first["process"]["capabilities"]["bounding"].append("CAP_SYS_ADMIN")
    first["mounts"][0]["source"] = "x"
    assert template.build(cgroup2=False) != first
    assert (
        "CAP_SYS_ADMIN" not in template.build(cgroup2=False)["process"]["capabilities"]["bounding"]
    )


def test_rootless_maps_the_caller() -> None:
    linux = template.build(cgroup2=False, rootless_ids=(1000, 1001))["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 1001, "size": 1}]
    assert "resources" not in linux


@pytest.mark.parametrize("rootless", [False, True])
def test_same_as_runc(tmp_path: Path, rootless: bool) -> None:
    if not shutil.which("runc"):
        pytest.skip("no runc to compare with")
    subprocess.run(
        ["runc", "spec", *(["--rootless"] if rootless else [])], cwd=tmp_path, check=True
    )
    theirs = json.loads((tmp_path / "config.json").read_text())
    own = theirs["linux"].get("uidMappings", [{}])[0].get("hostID", 0)
    group = theirs["linux"].get("gidMappings", [{}])[0].get("hostID", 0)
    cgroup2 = {"type": "cgroup"} in theirs["linux"]["namespaces"]
    mine = template.build(cgroup2=cgroup2, rootless_ids=(own, group) if rootless else None)
    # The version follows the specification, the name is the runtime's own, and ambient
    # capabilities have no effect without inheritable ones.
    theirs["process"]["capabilities"].pop("ambient", None)
    for key in ("ociVersion", "hostname"):
        assert theirs.pop(key) != mine.pop(key)
    assert mine == theirs
