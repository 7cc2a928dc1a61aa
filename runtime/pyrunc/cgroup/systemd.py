"""Decides how systemd is asked to make, change and remove units, and how its answers are awaited.

It must not choose a unit or a property: both come in operations from `plan.systemd`, or from the
container's record. Interface: org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import posix

from pyrunc import log
from pyrunc.cgroup import control
from pyrunc.cgroup.files import read_or_empty
from pyrunc.dbus.connection import CallFailure, Connection, socket_path
from pyrunc.errors import Failure, HostFailure
from pyrunc.plan.records import ServiceManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pyrunc.dbus.message import Message
    from pyrunc.plan.ops import Op
    from pyrunc.state import Record

    # (name, (signature, value))
    Property = tuple[str, tuple[str, Any]]

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_MATCH = f"type='signal',interface='{_MANAGER}',member='JobRemoved',path='{_PATH}'"
# Stopping has to wait for processes that systemd may have to kill itself; both are runc's.
_JOB_SECONDS = 30.0
_SYSTEM_BUS = "/run/dbus/system_bus_socket"
_SYSTEM_PRIVATE = "/run/systemd/private"
# What plan shows where nobody asks: the version that Debian 12 has.
_ASSUMED_VERSION = 252

_connections: dict[str, Manager] = {}


def _addresses(kind: str) -> list[tuple[str, bool]]:
    """Return the sockets to be tried, and whether a bus is behind: a bus before the manager's own."""
    environ = posix.environ
    if kind == "system":
        given = environ.get(b"DBUS_SYSTEM_BUS_ADDRESS", b"").decode("utf-8", "surrogateescape")
        return [(socket_path(given) or _SYSTEM_BUS, True), (_SYSTEM_PRIVATE, False)]
    given = environ.get(b"DBUS_SESSION_BUS_ADDRESS", b"").decode("utf-8", "surrogateescape")
    directory = environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    found = [(socket_path(given), True)] if socket_path(given) else []
    if directory:
        found += [(f"{directory}/bus", True), (f"{directory}/systemd/private", False)]
    return found


class Manager:
    """A connection to systemd, of `kind` "system" or "user"."""

    def __init__(self, kind: str, first_fd: int = 3) -> None:
        self.kind = kind
        self.connection = _connect(kind, first_fd)
        self.listening = False

    def call(self, member: str, signature: str = "", *values: Any) -> tuple[Any, ...]:
        return self.connection.call(_NAME, _PATH, _MANAGER, member, signature, *values)

    def facts(self) -> ServiceManager:
        """Ask for version and cgroup."""
        asked = [
            self.connection.send(_NAME, _PATH, _PROPERTIES, "Get", "ss", _MANAGER, name)
            for name in ("Version", "ControlGroup")
        ]
        (version,), (control_group,) = [self.connection.answer(serial) for serial in asked]
        return ServiceManager(self.kind, parse_version(version[1]), control_group[1])

    def listen(self) -> None:
        """Be told of jobs that end, before one is begun."""
        if not self.listening:
            self.connection.add_match(_MATCH)
            self.call("Subscribe")
            self.listening = True

    def finish(self, job: str) -> str:
        """Wait for the end of a job; its result, "timeout" where it takes too long."""

        def fits(message: Message) -> bool:
            return message.member == "JobRemoved" and message.body[1] == job

        found = self.connection.signal(fits, _JOB_SECONDS)
        return found.body[3] if found is not None else "timeout"

    def start(self, name: str, properties: Sequence[Property]) -> None:
        """Make and start a unit; one of the same name that has failed is forgotten first."""
        self.listen()
        arguments = (name, "replace", properties, ())
        try:
            (job,) = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)
        except CallFailure as failure:
            if failure.name != _EXISTS:
                raise
            self.reset_failed(name)
            (job,) = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)
        result = self.finish(job)
        if result != "done":
            self.stop(name)
            raise Failure(f'systemd ended the job with "{result}"')

    def stop(self, name: str) -> None:
        """Stop a unit, and forget it; one that is not there is no error."""
        self.listen()
        try:
            (job,) = self.call("StopUnit", "ss", name, "replace")
        except CallFailure as failure:
            if failure.name == _NO_SUCH_UNIT:
                return
            raise
        result = self.finish(job)
        self.reset_failed(name)
        if result != "done":
            raise Failure(f'stop unit {name}: systemd ended the job with "{result}"')

    def reset_failed(self, name: str) -> None:
        try:
            self.call("ResetFailedUnit", "s", name)
        except CallFailure as failure:
            if failure.name != _NO_SUCH_UNIT:
                log.debug(f"forget the failure of unit {name}: {failure}")


def _connect(kind: str, first_fd: int) -> Connection:
    addresses = _addresses(kind)
    if not addresses:
        raise Failure(
            "the user's systemd cannot be found:"
            " neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
        )
    first: Failure | None = None
    for path, is_bus in addresses:
        try:
            return Connection(path, is_bus, first_fd)
        except Failure as failure:
            first = first or failure
    raise Failure(f"the {kind}'s systemd cannot be reached: {first}") from first


def manager(kind: str, first_fd: int = 3) -> Manager:
    """Return the one connection of this process; Failure where there is no systemd to be reached."""
    if kind not in _connections:
        _connections[kind] = Manager(kind, first_fd)
    return _connections[kind]


def release(kind: str) -> None:
    """Close the connection. A `run` in the foreground lives long, and would not read the signals that
    it has asked for: the bus would keep them all."""
    _connections.pop(kind).connection.close()


def ask(kind: str, first_fd: int) -> ServiceManager:
    """Ask systemd what a plan has to know of it."""
    return manager(kind, first_fd).facts()


def assume(kind: str) -> ServiceManager:
    """What a plan that nobody carries out takes for systemd: nothing is asked but the kernel."""
    own = "/proc/1/cgroup" if kind == "system" else "/proc/self/cgroup"
    group = ""
    for line in read_or_empty(own).split("\n"):
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names in ("", "name=systemd"):
            group = path
    if kind == "system":
        return ServiceManager(kind, _ASSUMED_VERSION, group.removesuffix("/init.scope").rstrip("/"))
    uid = posix.geteuid()
    service = f"user@{uid}.service"
    head, found, _ = group.partition(f"/{service}")
    head = head if found else f"/user.slice/user-{uid}.slice"
    return ServiceManager(kind, _ASSUMED_VERSION, f"{head}/{service}")


def parse_version(text: str) -> int:
    """Return the number in "252.39-1~deb12u1", "v255" and such, 0 where there is none."""
    digits = ""
    for character in text.removeprefix("v").removeprefix("systemd "):
        if not "0" <= character <= "9":
            break
        digits += character
    return int(digits or "0")


# What operations and records ask for -------------------------------------------------------------


def start(op: Op, properties: Iterable[Op], pid: int) -> None:
    """Carry out a start_unit operation, with the unit_property operations before it."""
    kind, name, with_init, directory = op.args
    listed = _listed(properties)
    if with_init:
        listed.append(("PIDs", ("au", (pid,))))
    try:
        manager(kind).start(name, listed)
    except Failure as failure:
        raise _explained(failure, op, f"start unit {name}", properties) from failure
    if directory and pid not in control.processes({"": directory}):
        manager(kind).stop(name)
        text = f"systemd has not put process {pid} into cgroup {directory}"
        raise Failure(text, pointer=op.origin)
    release(kind)


def change(op: Op, properties: Iterable[Op]) -> None:
    """Carry out a change_unit operation, with the unit_property operations before it."""
    kind, name = op.args
    listed = _listed(properties)
    for index, (key, _) in enumerate(listed):
        if key == "DeviceAllow":
            # A list is added to what is there, and an empty one takes all away.
            listed.insert(index, (key, ("a(ss)", ())))
            break
    try:
        manager(kind).call("SetUnitProperties", "sba(sv)", name, True, listed)
    except Failure as failure:
        raise _explained(failure, op, f"change unit {name}", properties) from failure


def _listed(properties: Iterable[Op]) -> list[Property]:
    return [(op.args[0], (op.args[1], op.args[2])) for op in properties]


def _explained(failure: Failure, op: Op, what: str, properties: Iterable[Op]) -> Failure:
    """Systemd names the property that it does not accept, but not who asked for it."""
    text = failure.reason()
    words = text.translate({ord(c): " " for c in ",.:;'\"="}).split()
    origin = next((one.origin for one in properties if one.args[0] in words and one.origin), "")
    if isinstance(failure, HostFailure):
        return HostFailure(failure.errno, f"{what}: {failure.message}", pointer=origin or op.origin)
    return Failure(f"{what}: {text}", pointer=origin or op.origin)


def remove(record: Record) -> None:
    """Stop the unit of a container whose processes have ended.

    Where systemd cannot be reached any more, the user having logged out for instance, what is left
    is a warning: a unit ends with the last process of its cgroup.
    """
    try:
        found = manager(record["systemd_manager"])
    except Failure as failure:
        log.warning(f"unit {record['systemd_unit']} is left to itself: {failure}")
        return
    found.stop(record["systemd_unit"])


def attach(record: Record, directory: str, pid: int) -> None:
    """Let systemd put a process into the container's cgroup v2 `directory`.

    For a user's runtime in another part of the hierarchy than the container, which the kernel does
    not let move it (cgroups(7), "delegation containment").
    """
    unit: str = record["systemd_unit"]
    _, _, below = f"{directory}/".partition(f"/{unit}/")
    try:
        manager(record["systemd_manager"]).call(
            "AttachProcessesToUnit", "ssau", unit, "/" + below.rstrip("/"), (pid,)
        )
    except CallFailure as failure:
        raise Failure(f"put process {pid} into unit {unit}: {failure}") from failure
    release(record["systemd_manager"])
