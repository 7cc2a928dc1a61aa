"""What is for people: doctor, completion, manual pages, the difference of two plans."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.runtime import Runtime
from harness.signatures import Make

SHELLS = ("bash", "zsh", "fish")


def call(runtime: Runtime, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([runtime.path, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def verbs(runtime: Runtime) -> list[str]:
    text = call(runtime, "--help").stdout.partition("COMMANDS:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in text.splitlines() if line.split()[0] != "help"]


def test_doctor_finds_what_is_true_here(runtime: Runtime) -> None:
    done = call(runtime, "doctor", "--json")
    findings = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == (
        1 if any(one["verdict"] == "broken" for one in findings.values()) else 0
    )
    criu = shutil.which("criu", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
    assert findings["checkpoint"]["verdict"] == ("ok" if criu else "limited")
    status = Path("/proc/self/status").read_text()
    permitted = int(status.partition("CapPrm:")[2].split()[0], 16)
    assert ("CAP_SYS_RESOURCE" in findings["capabilities"]["text"]) == (not permitted >> 24 & 1)
    assert findings["kernel"]["text"].startswith("Linux ")
    booted = os.path.isdir("/run/systemd/system")
    assert findings["systemd"]["verdict"] == ("ok" if booted else "limited")


def test_doctor_as_text(runtime: Runtime) -> None:
    lines = call(runtime, "doctor").stdout.splitlines()
    assert len(lines) >= 12
    assert {line.split()[0] for line in lines} <= {"ok", "limited", "broken", "hint:"}


def test_doctor_without_cgroups(runtime: Runtime) -> None:
    script = (
        f"while umount -R /sys/fs/cgroup 2>/dev/null; do :; done; exec {runtime.path} doctor --json"
    )
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    findings = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    assert (done.returncode, findings["cgroups"]["verdict"]) == (1, "broken")


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_what_the_shell_can_read(
    runtime: Runtime, verbs: list[str], tmp_path: Path, shell: str
) -> None:
    done = call(runtime, "completion", shell)
    assert done.returncode == 0
    for verb in verbs:
        assert verb in done.stdout
    assert "--preserve-fds" in done.stdout or "preserve-fds" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here to read it")
    file = tmp_path / "script"
    file.write_text(done.stdout)
    assert subprocess.run([shell, "-n", str(file)], check=False).returncode == 0


def test_completion_in_bash(runtime: Runtime) -> None:
    script = 'eval "$1"; COMP_WORDS=(pyrunc "${@:2}"); COMP_CWORD=$(($# - 1)); _pyrunc; echo "${COMPREPLY[@]}"'

    def complete(*words: str) -> set[str]:
        source = call(runtime, "completion", "bash").stdout
        done = subprocess.run(
            ["bash", "-c", script, "-", source, *words], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    assert {"run", "resume"} <= complete("r")
    assert "--detach" in complete("--root", "/x", "run", "--de")
    assert complete("--log-f") == {"--log-format"}


def test_unknown_shell(runtime: Runtime) -> None:
    done = call(runtime, "completion", "tcsh")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'no completion for shell "tcsh"' in done.stderr


def test_manual_pages_are_clean(runtime: Runtime, verbs: list[str]) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here to format them")
    for words in ([], *[[verb] for verb in verbs]):
        page = call(runtime, "man", *words).stdout
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"],
            input=page,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), words
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION"):
            assert f".SH {section}\n" in page


def test_difference_of_two_plans(container: Make, runtime: Runtime, tmp_path: Path) -> None:
    c = container()
    c.bundle.write()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "rootfs").mkdir()
    config = json.loads((c.bundle.path / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config))
    root = ["--root", str(c.root)]
    same = call(runtime, *root, "plan", "-b", str(c.bundle.path), "--diff", str(copy))
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    config["hostname"] = "other"
    config["process"]["env"].append("NEW=1")
    (copy / "config.json").write_text(json.dumps(config))
    for other in (copy, copy / "config.json"):
        done = call(runtime, *root, "plan", "-b", str(c.bundle.path), "--diff", str(other))
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert any(line.startswith("+ init") and "set hostname other" in line for line in lines)
        assert all(line[:2] in ("+ ", "- ") for line in lines)
        assert len(lines) <= 4
