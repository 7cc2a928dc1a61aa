"""Failures are worded once, and in the same way."""

from __future__ import annotations

import errno

import pytest

from pyrunc import errors
from pyrunc.errno_texts import NAMES, TEXTS


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (errors.Failure("do it"), "do it"),
        (errors.StateFailure("container does not exist"), "container does not exist"),
        (errors.SpecFailure("/root", "is required"), "/root: is required"),
        (errors.SpecFailure("", "config.json: no JSON"), "config.json: no JSON"),
        (
            errors.HostFailure(errno.EINVAL, "mount tmpfs"),
            "mount tmpfs: invalid argument (EINVAL)",
        ),
        (
            errors.HostFailure(
                errno.EINVAL, "mount tmpfs", pointer="/mounts/3", subject="/dev/shm"
            ),
            '/mounts/3 "/dev/shm": mount tmpfs: invalid argument (EINVAL)',
        ),
        (errors.HostFailure(4711, "try"), "try: errno 4711"),
    ],
)
def test_wording(failure, text):
    assert str(failure) == text
    assert failure.exit_status == 1


def test_a_failing_clean_up_is_told_beside_the_first_failure():
    failure = errors.Failure("first")
    failure.add_undo(errors.HostFailure(errno.EBUSY, "remove /x"))
    assert str(failure) == "first; then, cleaning up: remove /x: device or resource busy (EBUSY)"


def test_enoent_is_not_taken_for_a_missing_command():
    text = str(errors.HostFailure(errno.ENOENT, "open /sys/fs/cgroup/x")).lower()
    assert text.endswith(": is missing (enoent)")
    assert "no such file" not in text
    assert "not found" not in text


def test_every_errno_has_words():
    assert {NAMES[number] for number in errno.errorcode} <= set(TEXTS)
    for name, text in TEXTS.items():
        assert text == text.strip(". "), name
        assert text[0].islower() or not text[1].islower(), name


def test_the_names_are_those_of_the_field():
    assert NAMES[errno.EOPNOTSUPP] == "EOPNOTSUPP"
    assert NAMES[errno.EDEADLK] == "EDEADLK"
    assert NAMES[errno.EAGAIN] == "EAGAIN"
