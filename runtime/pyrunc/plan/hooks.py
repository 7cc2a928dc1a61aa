"""Decides who runs which hook: the runtime in its namespaces, or init in the container's.

It must not plan poststart and poststop, which later commands run from the copy of config.json.
"""

from __future__ import annotations

from pyrunc.plan import ops
from pyrunc.shim.constants import HOOK_CREATE_CONTAINER, HOOK_START_CONTAINER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op


def _entries(spec: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = spec["hooks"].get(name) or []
    return entries


def runtime_hooks(spec: Mapping[str, Any]) -> list[Op]:
    """Prestart, then createRuntime, in the order of runtime-spec, "Lifecycle" 5 and 6."""
    return [
        ops.run_hook(
            f"/hooks/{name}/{index}",
            name,
            hook["path"],
            hook.get("args") or (hook["path"],),
            # An absent environment is an empty one, never the runtime's.
            hook.get("env") or (),
            hook.get("timeout") or 0,
        )
        for name in ("prestart", "createRuntime")
        for index, hook in enumerate(_entries(spec, name))
    ]


def create_container(spec: Mapping[str, Any]) -> list[Op]:
    """The hooks that run in the container's namespaces before pivot_root(2)."""
    return _in_container(spec, "createContainer", HOOK_CREATE_CONTAINER, ())


def start_container(spec: Mapping[str, Any]) -> list[Op]:
    """The hooks that run just before the container's process; runc gives them its environment."""
    return _in_container(spec, "startContainer", HOOK_START_CONTAINER, spec["process"]["env"])


def _in_container(spec: Mapping[str, Any], name: str, which: int, env: Any) -> list[Op]:
    stdout = stderr = ""
    if spec["annotations"]:
        from pyrunc import annotated

        stdout = spec["annotations"].get(annotated.HOOKS_STDOUT, "")
        stderr = spec["annotations"].get(annotated.HOOKS_STDERR, "")
    return [
        ops.hook(
            f"/hooks/{name}/{index}",
            which,
            index,
            hook["path"],
            hook.get("timeout") or 0,
            hook.get("args") or (hook["path"],),
            hook.get("env") or env,
            stdout,
            stderr,
        )
        for index, hook in enumerate(_entries(spec, name))
    ]
