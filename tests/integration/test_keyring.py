"""The session keyring."""

from __future__ import annotations

from harness.signatures import Make


def test_new_session_keyring(container: Make) -> None:
    c = container()
    serial, description = c.probe("keyring").split(maxsplit=1)
    assert int(serial) > 0
    assert description.startswith("keyring;")
    assert description.endswith(f";_ses.{c.id}")


def test_two_containers_have_two_keyrings(container: Make) -> None:
    assert container().probe("keyring").split()[0] != container().probe("keyring").split()[0]


def test_no_new_keyring(container: Make) -> None:
    c = container("/bin/probe", "keyring")
    c.bundle.write()
    out = c.run("--no-new-keyring").ok().out
    assert f"_ses.{c.id}" not in out
