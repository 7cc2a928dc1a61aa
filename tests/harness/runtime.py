"""Decides how the runtime under test is called; must not know what a call means."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.kernel import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """What a call of the runtime gave: exit status, standard output, standard error."""

    command: tuple[str, ...]
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[str]:
        return self.err.splitlines()

    def ok(self) -> Result:
        assert (
            self.status == 0
        ), f"{' '.join(self.command)}: exit {self.status}\n{self.out}{self.err}"
        return self

    def failed(self, *texts: str) -> Result:
        """Asserts failure by one line on standard error that has each of `texts`."""
        assert self.status != 0, f"{' '.join(self.command)}: succeeded, {texts} was expected"
        assert (
            self.status < 128 or self.status == 255
        ), f"{' '.join(self.command)}: died, {self.err}"
        assert "Traceback" not in self.err
        plain = self.err.replace('\\"', '"')  # as it stands in msg="..."
        for text in texts:
            assert text in plain, f"{text!r} is not in {self.err!r}"
        assert len(self.lines()) == 1, f"one line was expected: {self.err!r}"
        return self


@functools.cache
def reachable(path: str) -> str:
    """The executable, or a copy of it where other users cannot get to it, below /root say."""
    if all(parent.stat().st_mode & 0o001 for parent in Path(path).parents):
        return path
    directory = tempfile.mkdtemp(prefix="pyrunc-executable-")
    atexit.register(shutil.rmtree, directory)
    os.chmod(directory, 0o755)
    return shutil.copy2(path, directory)


class Runtime:
    """One executable under test."""

    def __init__(self, path: str | None = None) -> None:
        default = str(REPOSITORY / "build" / "pyrunc")
        self.path = reachable(os.path.abspath(path or os.environ.get("PYRUNC_RUNTIME") or default))
        self._kind = ""

    @property
    def kind(self) -> str:
        """First word of `--version`: "pyrunc", "runc", "crun"."""
        if not self._kind:
            first = subprocess.run(
                [self.path, "--version"], capture_output=True, text=True, check=True
            )
            self._kind = first.stdout.split()[0]
        return self._kind

    def popen(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Starts the runtime with an empty environment; nothing of the harness's stdio reaches it."""
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, subprocess.PIPE)
        return subprocess.Popen([self.path, *arguments], env=dict(env or {}), **options)

    def call(
        self,
        *arguments: str,
        directory: Path,
        stdin: bytes | IO[bytes] | int | None = None,
        timeout: float = PATIENCE,
        **options: Any,
    ) -> Result:
        """Runs to the end; output goes through files in `directory`, since containers keep pipes open."""
        directory.mkdir(parents=True, exist_ok=True)
        out, err = directory / "out", directory / "err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            options.setdefault("stdout", out_file)
            options.setdefault("stderr", err_file)
            if stdin is not None and not isinstance(stdin, bytes):
                options["stdin"] = stdin
            process = self.popen(arguments, **options)
            if process.stdin:
                if isinstance(stdin, bytes):
                    process.stdin.write(stdin)
                process.stdin.close()
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                shown = err.read_text(errors="replace")
                raise AssertionError(f"{arguments}: no end after {timeout} s: {shown}") from None
        texts = [path.read_bytes().decode(errors="surrogateescape") for path in (out, err)]
        return Result((self.path, *arguments), status, *texts)


def program(name: str) -> str | None:
    return shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
