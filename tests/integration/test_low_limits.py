# SPDX-License-Identifier: Apache-2.0
"""Decides that limits of the process do not limit what is done to make its container."""

from __future__ import annotations

import pytest

from harness.signatures import Make


@pytest.mark.parametrize("number", [0, 3, 5])
def test_few_descriptors(container: Make, number: int) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": number, "hard": number}
    c = container("/bin/sh", "-c", "ulimit -n", rlimits=[limit])
    c.bundle.namespace("network")
    assert c.run().ok().out.strip() == str(number)


def test_small_files(container: Make) -> None:
    limit = {"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}
    c = container("/bin/sh", "-c", "test $(ulimit -f) = 0", rlimits=[limit])
    c.run().ok()
