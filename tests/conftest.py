"""Decides how tests get containers, when they are skipped, and that nothing leaks; must not test."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, lanes
from harness.bundle import Bundle
from harness.container import Container
from harness.lanes import Lane
from harness.leaks import Watch
from harness.requirements import missing
from harness.runtime import Result, Runtime
from harness.signatures import Call, Make, Popen

pytest_plugins = ["harness.counting"]
BLACK_BOX = ("integration", "security", "fault")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*needs): skip, with the reason, where one is not met")
    config.addinivalue_line(
        "markers", "runc_fails(reason): why the expectation holds although runc breaks it"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(part in BLACK_BOX for part in item.path.parts):
            continue
        item.add_marker(pytest.mark.needs("root", "busybox"))
        for mark in item.iter_markers("runc_fails"):
            if Runtime().kind == "runc":
                item.add_marker(pytest.mark.xfail(reason=f"runc: {mark.args[0]}", strict=False))


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = [need for mark in item.iter_markers("needs") for need in mark.args]
    if not wanted:
        return
    runtime, lane = Runtime(), Lane()
    for need in dict.fromkeys(reversed(wanted)):
        reason = missing(need, runtime, lane)
        if reason and os.environ.get("PYRUNC_MUST_RUN") == "1":
            pytest.fail(f"PYRUNC_MUST_RUN is set, but: {reason}", pytrace=False)
        if reason:
            pytest.skip(reason)


def pytest_report_header() -> list[str]:
    lane = Lane()
    where = ", ".join(str(top) for top in lane.tops())
    return [f"runtime: {Runtime().path}", f"cgroup lane: {lane.name} ({lane.mode}: {where})"]


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture(scope="session")
def private_mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mount namespace of the session's own, containers as children, and a place for programs."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.become_subreaper()
    yield tmp_path_factory.mktemp("store")
    lanes.remove(Lane().ours())


@pytest.fixture
def lane() -> Lane:
    return Lane()


@pytest.fixture(scope="session")
def reachable() -> Iterator[Path]:
    """A directory that other users get to, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="pyrunc-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tmp_path(reachable: Path) -> Path:
    """A directory of one test, for root of a user namespace and ordinary users too."""
    path = reachable / f"test-{next(_numbers)}"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The state directory (--root) of one test."""
    return tmp_path / "root"


@pytest.fixture
def leaks(private_mounts: Path, lane: Lane, root: Path, tmp_path: Path) -> Iterator[Watch]:  # noqa: ARG001
    """Fails the test when it leaves a mount, cgroup, process, descriptor or state directory."""
    watch = Watch(lane)
    yield watch
    complaints = watch.complaints([root])
    if complaints:
        watch.clean_up()
        pytest.fail("\n".join(complaints), pytrace=False)
    shutil.rmtree(tmp_path, ignore_errors=True)


_numbers = itertools.count(1)


@pytest.fixture
def container(
    leaks: Watch,  # noqa: ARG001
    runtime: Runtime,
    root: Path,
    lane: Lane,
    private_mounts: Path,
    tmp_path: Path,
) -> Iterator[Make]:
    """Makes containers; those that a test leaves are removed by `delete --force`."""
    made: list[Container] = []

    def make(*args: str, **process: Any) -> Container:
        container_id = f"{lanes.TOKEN}-{next(_numbers)}"
        path = tmp_path / f"bundle-{container_id}"
        bundle = Bundle(
            path, private_mounts, list(args) or ["/bin/true"], f"/{lanes.TOKEN}/{container_id}"
        )
        bundle.process.update(process)
        made.append(Container(runtime, root, container_id, bundle, lane, tmp_path / "calls"))
        return made[-1]

    yield make
    # The other way round, for the end of a pid namespace waits for those that joined it.
    for one in reversed(made):
        one.clean_up()


@pytest.fixture
def call(leaks: Watch, runtime: Runtime, tmp_path: Path) -> Call:  # noqa: ARG001
    """Calls the runtime without a container."""
    numbers = itertools.count(1)

    def make(*arguments: str, **options: Any) -> Result:
        return runtime.call(*arguments, directory=tmp_path / f"call-{next(numbers)}", **options)

    return make


@pytest.fixture
def popen(leaks: Watch, runtime: Runtime) -> Iterator[Popen]:  # noqa: ARG001
    """Starts the runtime in the background; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(runtime.popen(arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
