"""AppArmor profiles and SELinux labels, where the kernel has the module, and the refusal where not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.container import Container
from harness.lanes import TOKEN
from harness.leaks import Watch
from harness.mappings import mapped
from harness.runtime import program
from harness.signatures import Make

APPARMOR = Path("/sys/kernel/security/apparmor/profiles")
SELINUX = Path("/sys/fs/selinux/enforce")
PROFILE = f"{TOKEN}-profile"
RULES = f"""
profile {PROFILE} flags=(attach_disconnected, mediate_deleted) {{
  file,
  capability,
  mount,
  signal,
  deny /etc/passwd r,
}}
"""
LABEL = "system_u:system_r:container_t:s0:c1,c2"
MOUNT_LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


@pytest.fixture
def profile(leaks: Watch) -> Iterator[str]:  # noqa: ARG001
    """A profile that forbids one file, loaded for the test."""
    parser = program("apparmor_parser")
    assert parser
    done = subprocess.run([parser, "--replace"], input=RULES, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    yield PROFILE
    subprocess.run([parser, "--remove"], input=RULES, text=True, check=True)


def readers(c: Container) -> Container:
    c.bundle.process["args"] = [
        *("/bin/sh", "-c"),
        "cat /proc/self/attr/current; cat /etc/group; cat /etc/passwd || echo refused",
    ]
    return c


@pytest.mark.needs(f"file:{APPARMOR}", "program:apparmor_parser")
@pytest.mark.parametrize(
    "no_new_privileges", [True, False], ids=["no-new-privileges", "new-privileges"]
)
def test_apparmor_profile_confines(container: Make, profile: str, no_new_privileges: bool) -> None:
    c = readers(container(apparmorProfile=profile, noNewPrivileges=no_new_privileges))
    lines = c.run().ok().out.splitlines()
    assert lines[0] == f"{profile} (enforce)"
    assert "root:x:0:" in lines
    assert lines[-1] == "refused"


@pytest.mark.needs(f"file:{APPARMOR}", "program:apparmor_parser", "runtime:pyrunc")
def test_apparmor_profile_of_exec(container: Make, profile: str) -> None:
    c = container(apparmorProfile=profile).running()
    assert c.call("exec", c.id, "/bin/cat", "/etc/passwd").status == 1
    told = c.call("exec", c.id, "/bin/cat", "/proc/self/attr/current").ok().out
    assert told.strip() == f"{profile} (enforce)"


@pytest.mark.needs(f"file:{APPARMOR}", "program:apparmor_parser", "runtime:pyrunc")
@pytest.mark.parametrize("by", ["option", "process"])
def test_apparmor_profile_of_exec_alone(container: Make, profile: str, by: str) -> None:
    c = container().running()
    words = ["/bin/cat", "/proc/self/attr/current"]
    if by == "option":
        result = c.exec(*words, options=["--apparmor", profile])
    else:
        process = c.bundle.process | {"apparmorProfile": profile, "args": words}
        file = c.bundle.path / "process.json"
        file.write_text(json.dumps(process))
        result = c.call("exec", "--process", str(file), c.id)
    assert result.ok().out.strip() == f"{profile} (enforce)"
    assert c.exec(*words).ok().out.strip() == "unconfined"
    c.exec(*words, options=["--apparmor", "no-such-profile-anywhere"]).failed(
        "no-such-profile-anywhere"
    )


@pytest.mark.needs(f"file:{APPARMOR}", "program:apparmor_parser", "userns")
def test_apparmor_profile_in_a_user_namespace(container: Make, profile: str) -> None:
    c = mapped(container(apparmorProfile=profile))
    lines = readers(c).run().ok().out.splitlines()
    assert (lines[0], lines[-1]) == (f"{profile} (enforce)", "refused")


@pytest.mark.needs(f"file:{APPARMOR}")
def test_apparmor_profile_that_is_not_loaded(container: Make) -> None:
    c = container(apparmorProfile="no-such-profile-anywhere")
    result = c.create()
    if c.runtime.kind == "pyrunc":
        result.failed("/process/apparmorProfile", "no-such-profile-anywhere")
    assert result.status != 0
    c.nothing_left()


@pytest.mark.skipif(APPARMOR.exists(), reason="AppArmor is on here")
def test_apparmor_is_off(container: Make) -> None:
    c = container(apparmorProfile="p")
    c.create().failed("apparmor: config provided but apparmor not supported")
    c.nothing_left()


@pytest.mark.needs(f"file:{SELINUX}")
def test_selinux_label(container: Make) -> None:
    c = container("/bin/cat", "/proc/self/attr/current", selinuxLabel=LABEL)
    assert c.run().ok().out.strip("\0\n") == LABEL


@pytest.mark.needs(f"file:{SELINUX}")
def test_selinux_mount_label(container: Make) -> None:
    c = container(selinuxLabel=LABEL)
    c.bundle.linux["mountLabel"] = MOUNT_LABEL
    mounts = c.facts().mounts()
    for place in ("/dev", "/dev/shm"):
        assert any("context=" in option for option in mounts[place]["super"]), (
            place,
            mounts[place],
        )


@pytest.mark.needs(f"file:{SELINUX}", "runtime:pyrunc")
@pytest.mark.parametrize("kind", ["fscontext", "rootcontext"])
def test_selinux_mount_context_type(container: Make, kind: str) -> None:
    c = container(selinuxLabel=LABEL)
    c.bundle.linux["mountLabel"] = MOUNT_LABEL
    c.bundle.config["annotations"] = {"run.oci.mount_context_type": kind}
    mounts = c.facts().mounts()
    assert not any(option.startswith("context=") for option in mounts["/dev/shm"]["super"])


@pytest.mark.needs("runtime:pyrunc", f"file:{SELINUX}")
def test_selinux_mount_context_type_that_is_none(container: Make) -> None:
    c = container()
    c.bundle.linux["mountLabel"] = MOUNT_LABEL
    c.bundle.config["annotations"] = {"run.oci.mount_context_type": "nocontext"}
    c.create().failed("/annotations/run.oci.mount_context_type")
    c.nothing_left()


@pytest.mark.skipif(SELINUX.exists(), reason="SELinux is on here")
def test_selinux_is_off(container: Make) -> None:
    c = container(selinuxLabel=LABEL)
    result = c.create()
    assert result.status != 0
    if c.runtime.kind == "pyrunc":
        result.failed("/process/selinuxLabel", "selinux")
    c.nothing_left()
