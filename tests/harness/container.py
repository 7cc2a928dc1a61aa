"""Decides how a test drives one container; must not hide what the runtime answered."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import kernel
from harness.bundle import Bundle
from harness.lanes import Lane
from harness.runtime import Result, Runtime

ERRNO_PREFIX = "errno "


class Container:
    """A container id, its bundle and the state directory `root`.

    Standard output and error of the container process are those of `create` or `run`, so they are
    in the files that these calls wrote to.
    """

    def __init__(
        self,
        runtime: Runtime,
        root: Path,
        container_id: str,
        bundle: Bundle,
        lane: Lane,
        work: Path,
    ) -> None:
        self.runtime = runtime
        self.root = root
        self.id = container_id
        self.bundle = bundle
        self.lane = lane
        self.work = work
        self.calls = 0
        self.globals: tuple[str, ...] = ()
        self.born: Path | None = None
        self.init: int | None = None

    # Calls ---------------------------------------------------------------------------------------

    def call(self, *arguments: str, **options: Any) -> Result:
        """Calls the runtime with this test's --root."""
        self.calls += 1
        directory = self.work / f"{self.id}.{self.calls}"
        return self.runtime.call(
            "--root", str(self.root), *self.globals, *arguments, directory=directory, **options
        )

    def _bring_up(self, verb: str, *options: str, **rest: Any) -> Result:
        self.bundle.write()
        self.born = self.work / f"{self.id}.{self.calls + 1}"
        return self.call(verb, "--bundle", str(self.bundle.path), *options, self.id, **rest)

    def create(self, *options: str, **rest: Any) -> Result:
        pid_file = self.bundle.path / "pid"
        if "--pid-file" not in options:
            options = ("--pid-file", str(pid_file), *options)
        result = self._bring_up("create", *options, **rest)
        if result.status == 0 and pid_file.exists():
            self.init = int(pid_file.read_text())
        return result

    def start(self) -> Result:
        return self.call("start", self.id)

    def run(self, *options: str, **rest: Any) -> Result:
        return self._bring_up("run", *options, **rest)

    def run_detached(self, *options: str, **rest: Any) -> Result:
        pid_file = self.bundle.path / "pid"
        result = self._bring_up("run", "-d", "--pid-file", str(pid_file), *options, **rest)
        if result.status == 0:
            self.init = int(pid_file.read_text())
        return result

    def kill(self, *arguments: str) -> Result:
        return self.call("kill", self.id, *arguments)

    def delete(self, *, force: bool = False) -> Result:
        return self.call("delete", *(["--force"] if force else []), self.id)

    def state(self) -> dict[str, Any]:
        return self.call("state", self.id).ok().json()  # type: ignore[no-any-return]

    def exec(self, *command: str, options: Sequence[str] = (), **rest: Any) -> Result:
        """Runs one more process in the container."""
        return self.call("exec", *options, self.id, *command, **rest)

    def exec_facts(self, *options: str, **rest: Any) -> Facts:
        """Runs the probe by exec."""
        return Facts(json.loads(self.exec("/bin/probe", "facts", options=options, **rest).ok().out))

    # Facts ---------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        assert self.init is not None, "the container was not created"
        return self.init

    def out(self) -> str:
        """What the container process wrote to standard output so far."""
        assert self.born is not None
        return (self.born / "out").read_text(errors="surrogateescape")

    def err(self) -> str:
        assert self.born is not None
        return (self.born / "err").read_text(errors="surrogateescape")

    def wait_for_output(self, text: str) -> None:
        kernel.wait_until(lambda: text in self.out(), f"output {text!r}")

    def wait(self) -> int:
        """Waits for the end of the container process as an engine does: exit status, or 128 + signal."""
        pid, status = self.pid, 0
        ended = [0]

        def reap() -> bool:
            nonlocal status
            ended[0], status = os.waitpid(pid, os.WNOHANG)
            return ended[0] == pid

        kernel.wait_until(reap, f"end of {pid}")
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def facts(self, *options: str) -> Facts:
        """Runs the probe as the container process in the foreground."""
        self.bundle.process["args"] = ["/bin/probe", "facts"]
        return Facts(json.loads(self.run(*options).ok().out))

    def shell(self, script: str, *options: str) -> str:
        """Runs a shell script as the container process in the foreground; its output, stripped."""
        self.bundle.process["args"] = ["/bin/sh", "-c", script]
        return self.run(*options).ok().out.strip()

    def probe(self, *arguments: str) -> str:
        self.bundle.process["args"] = ["/bin/probe", *arguments]
        return self.run().ok().out.strip()

    def running(self) -> Container:
        """Creates and starts a process that waits for signals."""
        self.bundle.process["args"] = ["/bin/probe", "wait"]
        self.create().ok()
        self.start().ok()
        self.wait_for_output("ready\n")
        return self

    def created(self) -> Container:
        self.bundle.process["args"] = ["/bin/probe", "wait"]
        self.create().ok()
        return self

    # Cgroups -------------------------------------------------------------------------------------

    def cgroup(self, controller: str) -> Path:
        return self.lane.directory(controller, self.bundle.linux["cgroupsPath"])

    def cgroup_value(self, controller: str, name: str) -> str:
        return (self.cgroup(controller) / name).read_text().strip()

    def all_cgroups(self) -> list[Path]:
        paths = (top / self.bundle.linux["cgroupsPath"].lstrip("/") for top in self.lane.tops())
        return [path for path in paths if path.exists()]

    # End -----------------------------------------------------------------------------------------

    def nothing_left(self) -> None:
        """Asserts that neither the state directory, nor a cgroup, nor a process of the container is left."""
        assert not (
            self.root / self.id
        ).exists(), f"state directory left: {os.listdir(self.root / self.id)}"
        assert not self.all_cgroups(), f"cgroups left: {self.all_cgroups()}"
        if self.init is not None:
            pid = self.init
            kernel.wait_until(lambda: _ended(pid), f"end of {pid}")

    def clean_up(self) -> None:
        """Removes the container whatever its state, and takes its status as its parent has to."""
        if (self.root / self.id).exists():
            self.call("delete", "--force", self.id).ok()
        # As its engine would: a pid namespace ends only when everything in it has been waited for.
        if self.init is not None:
            with contextlib.suppress(ChildProcessError):
                self.wait()


def _ended(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


class Facts(dict[str, Any]):
    """What the probe printed."""

    @property
    def status(self) -> dict[str, str]:
        return kernel.parse_status(self["status"])

    def mounts(self) -> dict[str, dict[str, Any]]:
        """The last mount on each destination: options, super options, type, source, root, optional fields."""
        table = {}
        for line in self["mountinfo"].splitlines():
            before, _, after = line.partition(" - ")
            fields, rest = before.split(), after.split()
            table[fields[4]] = {
                "root": fields[3],
                "options": set(fields[5].split(",")),
                "propagation": fields[6:],
                "type": rest[0],
                "source": rest[1],
                "super": set(rest[2].split(",")),
            }
        return table


def error_number(text: str) -> int:
    """Number in the probe's answer "errno N"; 0 for "ok"."""
    if text.strip() == "ok":
        return 0
    assert text.startswith(ERRNO_PREFIX), text
    return int(text[len(ERRNO_PREFIX) :])


def signal_mask(text: str) -> set[int]:
    """Signal numbers of a mask in /proc/PID/status."""
    bits = int(text, 16)
    return {number for number in range(1, int(signal.NSIG)) if bits >> (number - 1) & 1}
