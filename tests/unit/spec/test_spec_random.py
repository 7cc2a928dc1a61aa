"""Random configs, built from the model: all judges agree, and what is accepted becomes a plan or a refusal.

PYRUNC_EXAMPLES is their number.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import judges
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import specs, wrecked

from pyrunc.errors import Failure, SpecFailure
from pyrunc.plan import build, seccomp
from pyrunc.plan.describe import describe
from pyrunc.spec import load
from unit.plan import hosts

EXAMPLES = int(os.environ.get("PYRUNC_EXAMPLES", "300"))
LAYOUTS = ("v1", "hybrid", "v2", "none")


def agree(config: Any, official: judges.Official | None) -> bool:
    """Whether the hot check takes it; fails where another judge says otherwise."""
    verdict, refusals = judges.hot(config), judges.ours(config)
    if verdict is None:
        assert refusals == []
    else:
        assert verdict[0] in [refusal.pointer for refusal in refusals]
    if official:
        assert judges.disagreements(refusals, official.judge(config)) == []
    return verdict is None


def holds(config: Any, pointer: str) -> bool:
    """Whether a place is there, or is what an object that is there lacks."""
    *way, last = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")]
    for token in way[1:]:
        if isinstance(config, list) and token.isdigit() and int(token) < len(config):
            config = config[int(token)]
        elif isinstance(config, dict) and token in config:
            config = config[token]
        else:
            return False
    return isinstance(config, dict) or (isinstance(config, list) and int(last) < len(config))


def plan(spec: Any, layout: str, **facts: Any) -> str:
    """Make a plan; what it did."""
    rootless = bool(facts)
    try:
        if "seccomp" in spec["linux"]:
            seccomp.normalise(spec["linux"]["seccomp"])
        made = build.build(
            spec, hosts.options(spec, rootless=rootless), hosts.host(layout, **facts)
        )
    except SpecFailure as failure:
        assert failure.pointer == "" or holds(spec, failure.pointer), failure.pointer
        return f"refused on {layout}"
    except Failure:
        return f"refused on {layout}"
    for op in made.ops:
        assert "\n" not in describe(op)
        assert op.origin == "" or op.origin.startswith("/")
    return f"planned on {layout}"


def of_a_user(config: Any) -> Any:
    """The same as somebody without privileges may ask for it: with a user namespace of their own."""
    config = judges.without_nulls(config)
    linux = config.setdefault("linux", {})
    others = [one for one in linux.get("namespaces", ()) if one["type"] != "user"]
    linux["namespaces"] = [*({"type": one["type"]} for one in others), {"type": "user"}]
    for key in ("uidMappings", "gidMappings"):
        linux[key] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    config["process"].pop("user", None)
    return config


def test_random_configs() -> None:
    has_official = (judges.OFFICIAL / "config-schema.json").is_file()
    official = judges.Official("config-schema.json") if has_official else None
    done: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(config=st.one_of(specs(), specs(), wrecked()))
    def judge(config: Any) -> None:
        done["configs"] += 1
        if not agree(config, official):
            done["refused by the schema"] += 1
            return
        try:
            spec, _warnings = load.accept(judges.without_nulls(config))
        except SpecFailure as failure:
            assert holds(config, failure.pointer), failure.pointer
            done["refused by a rule"] += 1
            return
        done["accepted"] += 1
        for layout in LAYOUTS:
            done[plan(spec, layout)] += 1
        try:
            spec, _warnings = load.accept(of_a_user(config))
        except SpecFailure:
            return
        ordinary = {"euid": 1000, "egid": 1000, "capabilities": 0}
        done[plan(spec, "v2", **ordinary) + " for an ordinary user"] += 1

    judge()
    print(dict(done))
    # Neither side of any judge may be left out.
    assert done["accepted"] > EXAMPLES // 10
    assert done["refused by the schema"] > EXAMPLES // 20
    assert done["refused by a rule"] > EXAMPLES // 100
    for place in ("v1", "hybrid", "v2", "v2 for an ordinary user"):
        assert done[f"planned on {place}"] > EXAMPLES // 50
