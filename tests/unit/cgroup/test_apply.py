"""Making the directory of a cgroup; what only cgroupfs can show is in the black-box tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pyrunc.cgroup import apply
from pyrunc.errors import HostFailure


def test_every_directory_above_is_made_and_told(tmp_path: Path) -> None:
    path = str(tmp_path / "a/b/c")
    assert apply.create("", "pids", path, ()) == tuple(
        str(tmp_path / name) for name in ("a", "a/b", "a/b/c")
    )
    assert os.path.isdir(path)
    assert apply.create("", "pids", path + "/d", ()) == (path + "/d",)


def test_deeper_than_the_stack(tmp_path: Path) -> None:
    made = apply.create("", "pids", str(tmp_path) + "/a" * 1500, ())
    assert len(made) == 1500
    for directory in reversed(made):
        os.rmdir(directory)


def test_all_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(HostFailure, match="make cgroup"):
        apply.create("", "pids", str(tmp_path / "a/b" / ("n" * 300)), ())
    assert os.listdir(tmp_path) == []


def test_parent_that_leads_nowhere(tmp_path: Path) -> None:
    """The link exists and what it names does not: no number of tries makes a directory below."""
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(HostFailure, match="make cgroup"):
        apply.create("", "pids", str(tmp_path / "link/a"), ())
    shutil.rmtree(tmp_path)
