"""Decides how an update is carried out: all of it or nothing.

It must not decide which files a property is written to: `plan.update` does.
"""

from __future__ import annotations

import errno

from pyrunc import cgroup, container
from pyrunc.cgroup import files
from pyrunc.errors import Failure, HostFailure, StateFailure
from pyrunc.plan import update
from pyrunc.spec import load
from pyrunc.state import CONFIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op
    from pyrunc.state import Record

# What the kernel answers to a value that another file does not allow yet.
_NOT_YET = (errno.EINVAL, errno.EBUSY)


def apply(
    root: str, container_id: str, change: dict[str, Any], schemata: dict[str, str] | None = None
) -> None:
    """Change the limits of a living container and keep them in its record.

    `schemata` has properties of linux.intelRdt. Raises Failure with everything as it was before.
    """
    directory, record = container.load_locked(root, container_id)
    try:
        now = container.status(directory, record)
        if now not in ("created", "running", "paused"):
            raise StateFailure("container not running")
        from pyrunc.cgroup import layout

        paths = record["cgroup_paths"]
        if schemata:
            rdt = _Schemata(load.load_copy(directory.file(CONFIG)), container_id, schemata)
        kept: Any = record.get("resources")
        if kept is None:
            kept = load.load_copy(directory.file(CONFIG))["linux"]["resources"]
        merged = update.merge(kept, change)
        update.check_usage(merged, _usage(paths))
        operations = update.operations(change, merged, paths, layout.read())
        unit = _Unit(record, change, merged, kept) if record.get("systemd_unit") else None
        if schemata:
            rdt.write()
        try:
            _carry_out_still(operations, paths, kept, unit)
        except Failure as failure:
            if schemata:
                rdt.undo(failure)
            raise
        record["resources"] = merged
        directory.write_record(record)
    finally:
        directory.unlock()


class _Schemata:
    """New lines for the schemata of the container's resctrl group."""

    def __init__(self, spec: Any, container_id: str, changed: dict[str, str]) -> None:
        from pyrunc.plan import intel_rdt

        kept = spec["linux"].get("intelRdt")
        if not kept:
            # runc's words.
            raise Failure("updating a non-existent Intel RDT configuration is not supported")
        self.place = intel_rdt.group(kept, container_id)
        found = {"linux": {"intelRdt": {**changed, "closID": kept.get("closID")}}}
        made = intel_rdt.operations(found, container_id)
        self.operations = [op for op in made if op.kind == "write_schemata"]
        if not self.operations:
            raise Failure(f'no schemata for {" and ".join(changed)}: {" ".join(changed.values())}')
        self.before = ""

    def write(self) -> None:
        """Write all of them, or none."""
        from pyrunc import resctrl

        self.before = resctrl.schemata(self.place)
        try:
            for op in self.operations:
                resctrl.carry_out(op, 0)
        except Failure as failure:
            self.undo(failure)
            raise

    def undo(self, failure: Failure) -> None:
        from pyrunc import resctrl
        from pyrunc.plan import ops

        for line in self.before.split("\n"):
            if not line.strip():
                continue
            try:
                resctrl.carry_out(ops.write_schemata("", self.place, line.strip()), 0)
            except Failure as problem:
                failure.add_undo(problem)


def _usage(paths: dict[str, str]) -> int:
    """The memory in use, 0 where a v1 limit below it is refused by the kernel itself."""
    return int(files.read_or_empty(paths.get("", "") + "/memory.current").strip() or "0")


class _Unit:
    """The container's unit, for one change of its resources."""

    def __init__(
        self, record: Record, change: dict[str, Any], merged: dict[str, Any], kept: dict[str, Any]
    ) -> None:
        from pyrunc.cgroup import systemd
        from pyrunc.plan import ops

        self.driver = systemd
        kind = record["systemd_manager"]
        self.op = ops.change_unit("", kind, record["systemd_unit"])
        facts = systemd.ask(kind, 3)
        is_v2 = list(record["cgroup_paths"]) == [""]
        self.wanted, self.before = update.properties(change, merged, kept, facts, is_v2)

    def change(self) -> None:
        if self.wanted:
            self.driver.change(self.op, self.wanted)

    def restore(self, failure: Failure) -> None:
        if self.before:
            try:
                self.driver.change(self.op, self.before)
            except Failure as problem:
                failure.add_undo(problem)


def _carry_out_still(
    operations: list[Op], paths: dict[str, str], kept: dict[str, Any], unit: _Unit | None
) -> None:
    """Device rules of v1 change file by file: nothing may run between the first and the last."""
    devices = [op for op in operations if op.kind == "write_cgroup" and "/devices." in op.args[0]]
    freeze = bool(devices) and not cgroup.is_frozen(paths)
    if freeze:
        cgroup.freeze(paths)
    try:
        if unit is None:
            _carry_out(operations, paths, kept)
        else:
            _carry_out_with(unit, operations, paths, kept)
    finally:
        if freeze:
            cgroup.thaw(paths)


def _carry_out_with(
    unit: _Unit, operations: list[Op], paths: dict[str, str], kept: dict[str, Any]
) -> None:
    """The unit first: what systemd writes to the files is less exact than what follows."""
    before = [found for found in map(_value, operations) if found and files.link_count(found[0])]
    unit.change()
    try:
        _carry_out(operations, paths, kept)
    except Failure as failure:
        unit.restore(failure)
        _undo(before, failure)
        raise


def _carry_out(operations: list[Op], paths: dict[str, str], kept: dict[str, Any]) -> None:
    """Write all, in the plan's order as far as the kernel takes it; undo all at a failure.

    Limits depend on each other in a way that changes with the direction (memory and swap, quota
    and period): one that is refused is tried again after the others, while that helps.
    """
    done: list[tuple[str, str]] = []
    devices_touched = False
    try:
        while operations:
            refused: list[Op] = []
            problem: HostFailure | None = None
            for op in operations:
                devices_touched = devices_touched or _is_device(op)
                before = _value(op)
                try:
                    cgroup.carry_out(op)
                except HostFailure as failure:
                    if failure.errno not in _NOT_YET:
                        raise
                    refused.append(op)
                    problem = problem or failure
                else:
                    if before is not None:
                        done.append(before)
            if problem is not None and len(refused) == len(operations):
                raise problem
            operations = refused
    except Failure as failure:
        _undo(done, failure)
        if devices_touched:
            _restore_devices(paths, kept, failure)
        raise


def _is_device(op: Op) -> bool:
    return op.kind == "attach_device_program" or "/devices." in op.args[0]


def _value(op: Op) -> tuple[str, str] | None:
    """The file of a write and what restores it; None where `_restore_devices` does."""
    if _is_device(op):
        return None
    path, value = op.args[0], op.args[1]
    old = files.read_or_empty(path).strip()
    if not old and op.args[3] is not None:
        path, value = op.args[3]
        old = files.read_or_empty(path).strip()
    if not old:
        # An unset cpuset of v2 cannot be unset again while processes are in it (ENOSPC, Linux 6.1): it
        # gets what it had by its parent.
        old = files.read_or_empty(path + ".effective").strip()
    key, space, _rest = value.partition(" ")
    if path.endswith(("cpu.max",)) or not space:
        return path, old.split("\n")[0].removeprefix("default ")
    for line in old.split("\n"):
        if line.startswith(key + " "):
            return path, line
    # The kernel lists no line of a device that has no limit.
    unlimited = f"{key} rbps=max wbps=max riops=max wiops=max"
    return path, unlimited if path.endswith("io.max") else f"{key} 0"


def _undo(done: list[tuple[str, str]], failure: Failure) -> None:
    for path, value in reversed(done):
        try:
            files.write_file(path, value)
        except OSError as problem:
            failure.add_undo(HostFailure(problem.errno or 0, f'write "{value}" to {path}'))


def _restore_devices(paths: dict[str, str], kept: dict[str, Any], failure: Failure) -> None:
    from pyrunc.cgroup import layout

    for op in update.operations({"devices": []}, kept, paths, layout.read()):
        try:
            cgroup.carry_out(op)
        except Failure as problem:
            failure.add_undo(problem)
