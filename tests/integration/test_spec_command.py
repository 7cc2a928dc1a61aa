"""`spec`: the file that it writes, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import lanes
from harness.bundle import MASKED, READONLY
from harness.container import Container
from harness.signatures import Call, Make


def written(call: Call, path: Path, *options: str) -> dict[str, Any]:
    path.mkdir(exist_ok=True)
    call("spec", "--bundle", str(path), *options).ok()
    return json.loads((path / "config.json").read_text())  # type: ignore[no-any-return]


def test_default(call: Call, tmp_path: Path) -> None:
    config = written(call, tmp_path / "b")
    assert config["process"]["args"] == ["sh"]
    assert config["process"]["terminal"] is True
    assert config["process"]["cwd"] == "/"
    assert config["process"]["noNewPrivileges"] is True
    assert config["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
    assert config["root"] == {"path": "rootfs", "readonly": True}
    assert config["hostname"]
    names = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    for kind in ("bounding", "effective", "permitted"):
        assert config["process"]["capabilities"][kind] == names
    assert config["process"]["capabilities"].get("inheritable", []) == []
    assert [entry["destination"] for entry in config["mounts"]] == [
        "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup",
    ]  # fmt: skip
    assert {"pid", "network", "ipc", "uts", "mount"} <= {
        entry["type"] for entry in config["linux"]["namespaces"]
    }
    assert config["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert set(MASKED) <= set(config["linux"]["maskedPaths"])
    assert set(READONLY) <= set(config["linux"]["readonlyPaths"])


def test_indented_by_tabs(call: Call, tmp_path: Path) -> None:
    written(call, tmp_path / "b")
    text = (tmp_path / "b/config.json").read_text()
    assert text.splitlines()[1].startswith('\t"ociVersion"')


def test_existing_file_is_kept(call: Call, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("mine")
    call("spec", "--bundle", str(tmp_path)).failed("File config.json exists. Remove it first")
    assert (tmp_path / "config.json").read_text() == "mine"


def test_in_the_working_directory(call: Call, tmp_path: Path) -> None:
    directory = tmp_path / "here"
    directory.mkdir()
    call("spec", cwd=directory).ok()
    assert (directory / "config.json").exists()


def test_rootless(call: Call, tmp_path: Path) -> None:
    config = written(call, tmp_path / "b", "--rootless")
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert "user" in kinds
    assert "network" not in kinds
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}]
    assert "resources" not in config["linux"]
    sys = next(entry for entry in config["mounts"] if entry["destination"] == "/sys")
    assert "rbind" in sys["options"]
    assert not any("gid=5" in entry.get("options", []) for entry in config["mounts"])


def run(c: Container, config: dict[str, Any]) -> str:
    config["process"].update(terminal=False, args=["/bin/echo", "it runs"])
    c.bundle.config = config
    config["linux"]["cgroupsPath"] = f"/{lanes.TOKEN}/{c.id}"
    return c.run().ok().out


@pytest.mark.parametrize("option", [[], ["--rootless"]], ids=["rootful", "rootless"])
def test_what_is_written_runs(
    container: Make, call: Call, tmp_path: Path, option: list[str]
) -> None:
    c = container()
    for directory in (tmp_path, *tmp_path.parents):
        if str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    assert run(c, written(call, tmp_path / "b", *option)) == "it runs\n"


@pytest.mark.needs("runtime:pyrunc")
def test_what_is_written_is_valid(call: Call, tmp_path: Path) -> None:
    written(call, tmp_path / "b")
    call("validate", "--bundle", str(tmp_path / "b")).ok()
