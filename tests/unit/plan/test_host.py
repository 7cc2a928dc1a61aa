"""The texts of the kernel that facts are read from, and one reading of this host."""

from __future__ import annotations

import os

import pytest

from pyrunc import host


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-18-amd64", (6, 1)),
        ("5.10", (5, 10)),
        ("4.18+", (4, 18)),
        ("7", (7, 0)),
        ("6.x", (6, 0)),
    ],
)
def test_kernel(release: str, version: tuple[int, int]) -> None:
    assert host.parse_kernel(release) == version


def test_permitted_set() -> None:
    status = "Name:\tx\nCapInh:\t0\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000001\n"
    assert host.parse_permitted(status) == (1 << 41) - 1
    assert host.parse_permitted("") == 0


def test_user_namespace() -> None:
    assert host.maps_all("         0          0 4294967295\n")
    assert not host.maps_all("         0       1000          1\n")
    assert not host.maps_all("0 100000 65536\n65536 165536 4294901759\n")
    # Without CONFIG_USER_NS there is no such file.
    assert host.maps_all("")


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({}, 0),
        ({b"LISTEN_FDS": b"2"}, 0),
        ({b"LISTEN_FDS": b"2", b"LISTEN_PID": b"7"}, 2),
        ({b"LISTEN_FDS": b"2", b"LISTEN_PID": b"8"}, 0),
        ({b"LISTEN_FDS": b"-1", b"LISTEN_PID": b"7"}, 0),
    ],
)
def test_socket_activation(environ: dict[bytes, bytes], count: int) -> None:
    assert host.listen_fds(environ, 7) == count


def test_this_host() -> None:
    facts = host.read()
    assert facts.euid == os.geteuid()
    assert facts.kernel >= (4, 0)
    assert 36 <= facts.last_capability < 64
    assert facts.capabilities >> (facts.last_capability + 1) == 0
    assert facts == host.read()
