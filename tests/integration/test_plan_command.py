"""`plan`: says what `create` would do, and does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import kernel
from harness.signatures import Make

pytestmark = pytest.mark.needs("runtime:pyrunc")


def test_lines_and_json_agree(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.write()
    lines = c.call("plan", "--bundle", str(c.bundle.path), c.id).ok().out.splitlines()
    entries = c.call("plan", "--json", "--bundle", str(c.bundle.path), c.id).ok().json()
    assert len(entries) == len([line for line in lines if line.strip()])
    for line, entry in zip(lines, entries, strict=True):
        assert entry["text"] in line
        assert entry["origin"] in line


def test_origins_lead_into_the_config(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.write()
    for entry in c.call("plan", "--json", "--bundle", str(c.bundle.path), c.id).ok().json():
        place = c.bundle.config
        pointer = entry["origin"]
        for key in pointer.strip("/").split("/") if pointer else []:
            key = key.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list):
                place = place[int(key)]
            elif key in place:
                place = place[key]
            else:
                break  # a default


def test_nothing_is_touched(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.write()
    c.bundle.mounts.append({"destination": "/made", "type": "tmpfs", "source": "tmpfs"})
    before = (kernel.mountinfo(), sorted(path.name for path in c.bundle.rootfs.iterdir()))
    c.call("plan", "--bundle", str(c.bundle.path), c.id).ok()
    assert (kernel.mountinfo(), sorted(path.name for path in c.bundle.rootfs.iterdir())) == before
    assert not c.all_cgroups()
    assert not (c.root / c.id).exists()


def test_twice_the_same(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.write()
    texts = {c.call("plan", "--bundle", str(c.bundle.path), c.id).ok().out for _ in range(3)}
    assert len(texts) == 1


def test_what_cannot_be_planned(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append({"destination": "/x", "type": "tmpfs", "source": "x", "options": 5})
    c.bundle.write()
    c.call("plan", "--bundle", str(c.bundle.path), c.id).failed("/mounts/7/options")


def test_of_another_lane(container: Make) -> None:
    """The plan names the cgroups of this machine's hierarchies."""
    c = container("/bin/true")
    c.bundle.write()
    text = c.call("plan", "--bundle", str(c.bundle.path), c.id).ok().out
    for top in c.lane.tops():
        assert str(Path(top)) in text


def test_json_is_one_document(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.write()
    out = c.call("plan", "--json", "--bundle", str(c.bundle.path), c.id).ok().out
    assert isinstance(json.loads(out), list)
