"""What commands decide themselves: signals, tables, files."""

from __future__ import annotations

import json
import os
import platform
import signal
from pathlib import Path

import pytest

from pyrunc import cli, features
from pyrunc.commands import kill
from pyrunc.commands import list as list_command
from pyrunc.errors import Failure


@pytest.mark.parametrize("member", list(signal.Signals))
def test_signals_by_name_and_number(member):
    short = member.name.removeprefix("SIG")
    for text in (member.name, short, short.lower(), member.name.lower(), str(int(member))):
        assert kill.parse_signal(text) == member


@pytest.mark.parametrize(
    ("text", "number"),
    [("RTMIN+3", signal.SIGRTMIN + 3), ("sigrtmax-1", signal.SIGRTMAX - 1), ("0", 0), ("64", 64)],
)
def test_more_signals(text, number):
    assert kill.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "FOO", "SIG", "65", "-9", "9 ", "1e1", "٣", "99999999999"])
def test_unknown_signals(text):
    with pytest.raises(Failure) as caught:
        kill.parse_signal(text)
    assert str(caught.value) == f'unknown signal "{text}"'


def test_the_table_of_list():
    assert list_command.table([]) == (
        "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    )
    row = ("web", "12", "running", "/srv/bundles/web", "2026-01-02T03:04:05.6Z", "root")
    assert list_command.table([row]) == (
        "ID          PID         STATUS      BUNDLE             CREATED                  OWNER\n"
        "web         12          running     /srv/bundles/web   2026-01-02T03:04:05.6Z   root\n"
    )


def test_owners():
    names = list_command._user_names()
    assert list_command._owner(0, names) == "root"
    assert list_command._owner(4294967294, names) == "#4294967294"


def test_spec_writes_once(tmp_path, capfd):
    words = ["pyrunc", "spec", "-b", str(tmp_path)]
    assert cli.main(words) == 0
    path = tmp_path / "config.json"
    assert json.loads(path.read_text())["process"]["args"] == ["sh"]
    before = path.read_bytes()
    assert cli.main(words) == 1
    assert capfd.readouterr() == ("", "pyrunc: spec: File config.json exists. Remove it first\n")
    assert path.read_bytes() == before


def test_spec_for_an_ordinary_user(tmp_path):
    assert cli.main(["pyrunc", "spec", "--rootless", "--bundle", str(tmp_path)]) == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} in config["linux"]["namespaces"]
    assert config["linux"]["uidMappings"][0]["hostID"] == os.geteuid()


def test_validate(tmp_path, capfd):
    cli.main(["pyrunc", "spec", "-b", str(tmp_path)])
    path = tmp_path / "config.json"
    assert cli.main(["pyrunc", "validate", "-b", str(tmp_path)]) == 0
    assert capfd.readouterr() == ("valid\n", "")
    config = json.loads(path.read_text())
    config["process"]["cwd"] = 3
    config["linux"]["namespaces"][0]["type"] = "pit"
    path.write_text(json.dumps(config))
    assert cli.main(["pyrunc", "validate", str(path)]) == 1
    out, err = capfd.readouterr()
    assert err == ""
    pointers = [line.split(": ")[1] for line in out.splitlines()]
    assert pointers == ["/process/cwd", "/linux/namespaces/0/type"]


def test_validate_without_a_file(tmp_path, capfd):
    assert cli.main(["pyrunc", "validate", "-b", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("pyrunc: validate: JSON specification file ")


def test_features_promise_what_is_there():
    document = features.build()
    assert document["ociVersionMax"] == "1.3.0"
    assert document["mountOptions"] == sorted(set(document["mountOptions"]))
    assert {"ro", "rro", "rbind", "rslave", "nosymfollow", "idmap", "ridmap"} <= set(
        document["mountOptions"]
    )
    assert "CAP_CHECKPOINT_RESTORE" in document["linux"]["capabilities"]
    # Whoever makes one of these work changes it here too.
    linux = document["linux"]
    assert linux["netDevices"]["enabled"] is True
    kernel = tuple(int(part) for part in platform.release().split(".")[:2])
    assert linux["mountExtensions"]["idmap"]["enabled"] is (kernel >= (5, 12))
    assert linux["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}
    assert linux["cgroup"]["systemd"] is linux["cgroup"]["systemdUser"] is True


def test_features_know_the_words_of_the_schema():
    path = Path(__file__).parents[3] / "spec-fixtures/schema/seccomp.json"
    definitions = json.loads(path.read_text())["$defs"]
    assert set(features.SECCOMP_OPERATORS) == set(definitions["operator"]["enum"])
    assert set(features.SECCOMP_FLAGS) == set(definitions["flag"]["enum"])
    assert set(features.SECCOMP_ACTIONS) == set(definitions["action"]["enum"])
    assert set(features.SECCOMP_ARCHS) < set(definitions["architecture"]["enum"])


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("5.10", (5, 10)), ("6.18-rc1", (6, 18)), ("x", (0, 0))],
)
def test_kernel_versions(release, version):
    assert features.kernel_version(release) == version


@pytest.fixture
def bundle(tmp_path):
    """A bundle whose rootfs is an empty directory."""
    (tmp_path / "rootfs").mkdir()
    assert cli.main(["pyrunc", "spec", "-b", str(tmp_path)]) == 0
    return tmp_path


def test_plan_tells_each_operation_with_side_and_origin(bundle, capfd, monkeypatch):
    monkeypatch.chdir("/")
    assert cli.main(["pyrunc", "plan", "-b", str(bundle), "web"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert any(line.startswith("runtime clone") for line in lines)
    assert any(line.endswith("  (/mounts/0)") for line in lines)
    assert lines[-1].startswith("init    execute")
    monkeypatch.chdir("/")
    assert cli.main(["pyrunc", "plan", "-b", str(bundle), "--json", "web"]) == 0
    documents = json.loads(capfd.readouterr().out)
    for line, document in zip(lines, documents, strict=True):
        assert list(document) == ["side", "kind", "origin", "text", "args"]
        origin = f"  ({document['origin']})" if document["origin"] else ""
        assert line == f"{document['side']:<8}{document['text']}{origin}"
    assert {document["side"] for document in documents} == {"runtime", "init", "both"}


def test_plan_leaves_nothing_behind(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    root = tmp_path / "root"
    assert cli.main(["pyrunc", "--root", str(root), "plan", "-b", str(bundle)]) == 0
    assert not root.exists()
    assert os.listdir(bundle / "rootfs") == []


def test_plan_refuses_what_create_refuses(bundle, capfd, monkeypatch):
    monkeypatch.chdir("/")
    assert cli.main(["pyrunc", "plan", "-b", str(bundle), "../x"]) == 1
    assert cli.main(["pyrunc", "plan", "-b", str(bundle), "--detach"]) == 1
    err = capfd.readouterr().err.splitlines()
    assert err[0] == 'pyrunc: plan: invalid container ID format: "../x"'
    assert "cannot allocate tty if runc will detach without setting console socket" in err[1]


def test_list_of_an_empty_root(tmp_path, capfd):
    assert cli.main(["pyrunc", "--root", str(tmp_path), "list"]) == 0
    assert capfd.readouterr().out.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert cli.main(["pyrunc", "--root", str(tmp_path), "list", "-f", "json"]) == 0
    assert capfd.readouterr().out == "null\n"
    assert cli.main(["pyrunc", "--root", str(tmp_path), "list", "-q"]) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("verb", ["state", "start", "kill", "delete"])
def test_a_container_that_is_not_there(tmp_path, capfd, verb):
    assert cli.main(["pyrunc", "--root", str(tmp_path), verb, "web"]) == 1
    assert capfd.readouterr() == ("", f"pyrunc: {verb} web: container does not exist\n")


def test_deleting_what_is_not_there_by_force_is_no_error(tmp_path, capfd):
    assert cli.main(["pyrunc", "--root", str(tmp_path), "delete", "--force", "web"]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("option", ["--systemd-cgroup", "--cgroup-manager=systemd"])
def test_a_plan_for_systemd_names_the_unit(bundle, capfd, monkeypatch, option):
    monkeypatch.chdir("/")
    assert cli.main(["pyrunc", option, "plan", "-b", str(bundle), "web"]) == 0
    assert "make unit runc-web.scope around init" in capfd.readouterr().out


def test_a_plan_without_a_cgroup_manager_names_no_cgroup(bundle, capfd, monkeypatch):
    monkeypatch.chdir("/")
    assert cli.main(["pyrunc", "--cgroup-manager=disabled", "plan", "-b", str(bundle)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith("runtime") and "cgroup" in line]
