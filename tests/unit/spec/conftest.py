"""Decides when the official schema is at hand; must not test."""

from __future__ import annotations

import os

import judges
import pytest


def _need_official() -> None:
    if (judges.OFFICIAL / "config-schema.json").is_file():
        return
    reason = f"no official schema in {judges.OFFICIAL} (PYRUNC_OFFICIAL_SCHEMA names its directory)"
    if os.environ.get("PYRUNC_MUST_RUN") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def official() -> judges.Official:
    _need_official()
    return judges.Official("config-schema.json")


@pytest.fixture(scope="session")
def official_features() -> judges.Official:
    _need_official()
    return judges.Official("features-schema.json")


@pytest.fixture(scope="session")
def official_state() -> judges.Official:
    _need_official()
    return judges.Official("state-schema.json")
