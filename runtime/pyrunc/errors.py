"""Decides which kinds of failure there are and how one is worded.

It must not write anything: the one printer is in `log`, and it prints what `str(failure)` gives.

Text of a failure: lower case, no full stop, verb and object first, the errno last, as in
`/mounts/3 "/dev/shm": mount tmpfs: invalid argument (EINVAL)`. The program's name, the command and
the container's id are put in front by the printer.
"""

from __future__ import annotations


class Failure(Exception):
    """What pyrunc could not do, in words for the caller.

    `pointer` is the JSON pointer into config.json that asked for it, or "". `subject` is what that
    property is about (a mount's destination, say), shown quoted beside the pointer. `errno` is 0
    where the system did not refuse anything. `exit_status` is the status that the command ends
    with.
    """

    exit_status = 1

    def __init__(self, message: str, *, pointer: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        self.subject = subject
        self.errno = 0
        self.undone: list[str] = []

    def add_undo(self, problem: object) -> None:
        """Tell that an attempt to clean up after this failure failed too, and how."""
        self.undone.append(str(problem))

    def reason(self) -> str:
        """Return the message without place and clean-up problems."""
        return self.message

    def __str__(self) -> str:
        place = self.pointer
        if self.subject:
            place = f'{place} "{self.subject}"' if place else f'"{self.subject}"'
        text = f"{place}: {self.reason()}" if place else self.reason()
        for problem in self.undone:
            text += f"; then, cleaning up: {problem}"
        return text


class UsageFailure(Failure):
    """The command line is wrong."""

    def __init__(self, message: str, *, exit_status: int = 1) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class SpecFailure(Failure):
    """config.json, or what it refers to, is wrong at `pointer`."""

    def __init__(self, pointer: str, message: str, *, subject: str = "") -> None:
        super().__init__(message, pointer=pointer, subject=subject)


class StateFailure(Failure):
    """The container is not there, or not in a state that allows what was asked for."""


class HostFailure(Failure):
    """The system refused: `errno` (positive), and `message` saying what was tried on what."""

    def __init__(self, errno: int, message: str, *, pointer: str = "", subject: str = "") -> None:
        super().__init__(message, pointer=pointer, subject=subject)
        self.errno = errno

    def reason(self) -> str:
        return f"{self.message}: {describe_errno(self.errno)}"


def describe_errno(number: int) -> str:
    """Return the words and the name of an errno: `invalid argument (EINVAL)`.

    ENOENT is worded apart: podman and moby take "no such file or directory" and "not found"
    anywhere in an error for a missing command and make exit status 127 of it (podman's ExitCode,
    moby's translateContainerdStartErr). The one message that means this is written in full by who
    finds it.
    """
    from pyrunc.errno_texts import NAMES, TEXTS

    name = NAMES.get(number)
    if name is None:
        return f"errno {number}"
    return f"{TEXTS.get(name, 'unknown error')} ({name})"
