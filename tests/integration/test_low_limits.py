# SPDX-License-Identifier: Apache-2.0
"""Decides that limits of the process do not limit what is done to make its container."""

from __future__ import annotations

import json

import pytest

from harness.mappings import joining, mapped
from harness.signatures import Make

FEW = [0, 3, 5]


def limited(number: int) -> list[dict[str, object]]:
    return [{"type": "RLIMIT_NOFILE", "soft": number, "hard": number}]


@pytest.mark.parametrize("number", FEW)
def test_few_descriptors(container: Make, number: int) -> None:
    c = container("/bin/sh", "-c", "ulimit -n", rlimits=limited(number))
    c.bundle.namespace("network")
    assert c.run().ok().out.strip() == str(number)


@pytest.mark.needs("userns")
@pytest.mark.parametrize("number", FEW)
def test_few_descriptors_in_a_user_namespace(container: Make, number: int) -> None:
    c = mapped(container("/bin/sh", "-c", "ulimit -n", rlimits=limited(number)))
    c.bundle.namespace("network")
    assert c.run().ok().out.strip() == str(number)


@pytest.mark.needs("userns")
@pytest.mark.parametrize("number", FEW)
@pytest.mark.parametrize("kinds", [(), ("pid",)], ids=["own pid namespace", "joined one"])
def test_few_descriptors_in_a_joined_user_namespace(
    container: Make, number: int, kinds: tuple[str, ...]
) -> None:
    first = mapped(container()).running()
    c = joining(
        container("/bin/sh", "-c", "ulimit -n", rlimits=limited(number)), first, "network", *kinds
    )
    assert c.run().ok().out.strip() == str(number)


@pytest.mark.needs("userns")
@pytest.mark.parametrize("number", FEW)
def test_few_descriptors_of_exec(container: Make, number: int) -> None:
    """In a user namespace nothing has the right to raise a limit, and init none to be without descriptors."""
    for c in (container(), mapped(container())):
        c.running()
        c.bundle.process.update(rlimits=limited(number), args=["/bin/sh", "-c", "ulimit -n"])
        path = c.bundle.path / "process.json"
        path.write_text(json.dumps(c.bundle.process))
        assert c.call("exec", "--process", str(path), c.id).ok().out.strip() == str(number)


def test_small_files(container: Make) -> None:
    limit = {"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}
    c = container("/bin/sh", "-c", "test $(ulimit -f) = 0", rlimits=[limit])
    c.run().ok()


@pytest.mark.needs("cgroup1:memory")
@pytest.mark.parametrize("limit", [42, 100000])
def test_next_to_no_memory(container: Make, limit: int) -> None:
    c = container()
    c.bundle.resources["memory"] = {"limit": limit}
    error = c.run().failed().err
    assert "memory" in error
    assert len(error.splitlines()) == 1


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    ("kind", "script", "out"),
    [("RLIMIT_FSIZE", "test $(ulimit -f) = 0", ""), ("RLIMIT_NOFILE", "ulimit -n", "0\n")],
)
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_hooks_with_next_to_nothing(
    container: Make, kind: str, script: str, out: str, no_new_privileges: bool
) -> None:
    """What init needs to run a startContainer hook is not limited; the hook is, as with runc.

    runc itself has no descriptors for it then.
    """
    limit = {"type": kind, "soft": 0, "hard": 0}
    c = container("/bin/sh", "-c", script, rlimits=[limit])
    c.bundle.process["noNewPrivileges"] = no_new_privileges
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat; {script}"], "env": ["PATH=/bin"]}
    c.bundle.config["hooks"] = {"startContainer": [hook, hook]}
    assert c.run().ok().out == out
    hook["args"] = ["sh", "-c", f"cat; {script} && echo said; exit 7"]
    c.run().failed("startContainer hook #0: exit status 7", '"status":"created"', out[:1], "said")
    c.nothing_left()
