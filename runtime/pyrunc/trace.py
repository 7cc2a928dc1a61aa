"""Decides how the carrying out of a plan is told: when each operation began and ended, on which side.

It must cost nothing where nobody asks: the classes that carry out are followed by subclasses of
theirs, made when a trace is wanted.
"""

from __future__ import annotations

import time

from pyrunc import jsontext, output, state
from pyrunc.plan.describe import describe
from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.creation import Creation
    from pyrunc.plan.ops import Op

# Threads of the one process that the trace shows.
_RUNTIME, _INIT = 1, 2


class Trace:
    """The operations of one plan as they happen; times are in nanoseconds since the epoch.

    The clock is the one that no time namespace shifts (time_namespaces(7)).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # Now, while there is no container yet that could be left by a failure.
        state.write_file(path, b"", 0o644)
        self.events: list[tuple[Op, int, int, int]] = []
        self.begun: tuple[Op, int] | None = None
        self.followed: Creation | None = None

    def following(self, kind: Any) -> Any:
        """Return a subclass of `kind` (Creation or one of its own) that fills this trace."""
        trace = self

        class Followed(kind):  # type: ignore[misc]
            def carry_out(self) -> None:
                trace.followed = self
                self.buffer.trace()
                super().carry_out()

            def _act(self, op: Op) -> None:
                begin = time.time_ns()
                try:
                    super()._act(op)
                finally:
                    trace.events.append((op, _RUNTIME, begin, time.time_ns()))

            def _next_report(self) -> Any:
                report = super()._next_report()
                if report is None:
                    trace.end()
                elif report.kind == C.REPORT_TRACE:
                    trace.begin(self.buffer.operations[report.op], int(report.detail))
                return report

            def _await_end_of_conversation(self) -> None:
                """Init keeps the conversation up until execve: for it to wait is enough."""
                if not any(op.kind == "await_start" for op in self.plan.ops):
                    super()._await_end_of_conversation()
                    return
                while trace.begun is None or trace.begun[0].kind != "await_start":
                    if self._next_report() is None:
                        return

        return Followed

    def begin(self, op: Op, moment: int) -> None:
        """Init does one operation after another: one begins where the one before ends."""
        self.end(moment)
        self.begun = (op, moment)

    def end(self, moment: int | None = None) -> None:
        if self.begun is not None:
            op, begin = self.begun
            self.events.append((op, _INIT, begin, moment or time.time_ns()))
            self.begun = None

    def write(self) -> None:
        """Write the file, with what init has told since its start; an operation that goes on ends
        now."""
        creation = self.followed
        if creation is not None and creation.sync_fd >= 0 and self._has_started(creation):
            while creation._next_report() is not None:
                pass
        self.end()
        state.write_file(self.path, output.encode(jsontext.dumps(self.document()) + "\n"), 0o644)

    def _has_started(self, creation: Creation) -> bool:
        """Whether the exec fifo is gone: then init is past it, and execve ends the conversation."""
        import posix

        return not posix.access(creation.directory.file(state.FIFO), posix.F_OK)

    def document(self) -> dict[str, Any]:
        """Return the trace in the JSON object format of the Trace Event format: times in us."""
        first = min((begin for _op, _side, begin, _end in self.events), default=0)
        events: list[dict[str, Any]] = [
            {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "pyrunc"}},
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "runtime"}},
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": "init"}},
        ]
        for op, side, begin, end in self.events:
            events.append(
                {
                    "name": describe(op),
                    "cat": op.kind,
                    "ph": "X",
                    "ts": (begin - first) / 1000,
                    "dur": max(end - begin, 0) / 1000,
                    "pid": 1,
                    "tid": side,
                    "args": {"origin": op.origin},
                }
            )
        return {"traceEvents": events, "displayTimeUnit": "ms"}
