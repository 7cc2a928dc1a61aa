"""`features`: what engines read before they use a runtime."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.signatures import Call


def schema_directory() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        for place in (parent / "oci-spec", parent / "shared" / "oci-spec"):
            if (place / "features-schema.json").exists():
                return place
    return None


def test_is_alone_on_the_output(call: Call) -> None:
    json.loads(call("features", stderr=subprocess.STDOUT).ok().out)


@pytest.mark.needs("runtime:pyrunc")
def test_content(call: Call) -> None:
    features = call("features").ok().json()
    assert features["ociVersionMin"] == "1.0.0"
    assert features["ociVersionMax"] == "1.3.0"
    assert features["hooks"] == [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ]
    options = features["mountOptions"]
    assert options == sorted(options)
    assert {"ro", "rbind", "rro", "nosuid", "tmpcopyup"} <= set(options)
    linux = features["linux"]
    assert {"pid", "network", "ipc", "uts", "mount", "user", "cgroup"} <= set(linux["namespaces"])
    assert "CAP_SYS_ADMIN" in linux["capabilities"]
    assert linux["cgroup"]["v1"] is True
    assert linux["cgroup"]["v2"] is True
    assert linux["seccomp"]["enabled"] is True
    assert "SCMP_ACT_ERRNO" in linux["seccomp"]["actions"]


def test_official_schema(call: Call) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    directory = schema_directory()
    if directory is None:
        pytest.skip("the official schemas are not beside the project")
    store = {}
    for path in directory.glob("*.json"):
        document = json.loads(path.read_text())
        store[path.as_uri()] = document
    top = json.loads((directory / "features-schema.json").read_text())
    resolver = jsonschema.RefResolver(
        (directory / "features-schema.json").as_uri(), top, store=store
    )
    jsonschema.Draft4Validator(top, resolver=resolver).validate(call("features").ok().json())


@pytest.mark.needs("runtime:pyrunc")
def test_every_mount_option_is_accepted(call: Call, tmp_path: Path) -> None:
    """What `features` promises, a plan can be made of."""
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    call("spec", "--bundle", str(bundle)).ok()
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["terminal"] = False
    text = json.dumps(config)
    for option in call("features").ok().json()["mountOptions"]:
        config = json.loads(text)
        entry = {"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": [option]}
        if option in ("bind", "rbind", "idmap", "ridmap") or (
            option.startswith("r") and option != "remount"
        ):
            entry.update(type="bind", source="/tmp", options=["rbind", option])
        if option in ("idmap", "ridmap"):
            mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
            entry.update(uidMappings=mapping, gidMappings=mapping)
        config["mounts"].append(entry)
        (bundle / "config.json").write_text(json.dumps(config))
        result = call("plan", "--bundle", str(bundle))
        assert result.status == 0, (option, result.err)
