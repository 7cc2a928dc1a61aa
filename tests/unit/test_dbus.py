"""D-Bus messages, against bytes of the specification's rules and over a real socket."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from pyrunc.dbus import connection, message
from pyrunc.errors import Failure, HostFailure


def test_split():
    assert message.split("ssa(sv)a(sa(sv))") == ["s", "s", "a(sv)", "a(sa(sv))"]
    assert message.split("a{sv}ay") == ["a{sv}", "ay"]
    assert message.split("") == []


@pytest.mark.parametrize(
    "text", ["a", "(s", "()", "r", "{sv}", "a{s}", "a{sss}", "z", "a" * 40 + "s"]
)
def test_wrong_signatures(text):
    with pytest.raises(ValueError, match="is no signature"):
        message.split(text)


def test_marshalling_aligns():
    assert message.marshal("yu", (1, 2)) == b"\1\0\0\0\2\0\0\0"
    assert message.marshal("s", ("hi",)) == b"\2\0\0\0hi\0"
    assert message.marshal("at", ([5],)) == b"\x08\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"
    # An empty array has the padding before its first element all the same.
    assert message.marshal("a(sv)y", ([], 7)) == b"\0\0\0\0\0\0\0\0\7"
    assert message.marshal("v", (("b", True),)) == b"\1b\0\0\1\0\0\0"
    assert message.marshal("ay", (b"\3\1",)) == b"\2\0\0\0\3\1"


VALUES = (
    ("ssa(sv)", ("web.scope", "replace", [("MemoryMax", ("t", 1 << 40)), ("PIDs", ("au", [7, 8]))])),
    ("a{sv}", ([("x", ("ay", b"abc")), ("y", ("a(ss)", [("/dev/null", "rwm")]))],)),
    ("nqixdg", (-5, 60000, -(1 << 31), -(1 << 63), 0.5, "a{sv}")),
)  # fmt: skip


@pytest.mark.parametrize(("signature", "values"), VALUES)
def test_what_is_written_is_read(signature, values):
    data = message.method_call(9, "a.b", "/a", "a.b.C", "Do", signature, values)
    assert message.total_length(data[: message.FIXED]) == len(data)
    found = message.parse(data)
    assert (found.kind, found.path, found.interface, found.member) == (1, "/a", "a.b.C", "Do")
    assert found.body == values


def test_the_other_byte_order():
    data = (
        b"B\2\0\1" + (4).to_bytes(4, "big") + (1).to_bytes(4, "big") + (15).to_bytes(4, "big")
        + b"\5\1u\0\0\0\0\6" + b"\x08\1g\0\1u\0" + b"\0" + (77).to_bytes(4, "big")
    )  # fmt: skip
    found = message.parse(data)
    assert (found.kind, found.reply_serial, found.body) == (2, 6, (77,))


def test_damage_is_told_from_a_message():
    whole = message.method_call(1, "", "/a", "a.b", "Do", "as", (["x", "y"],))
    for end in range(message.FIXED, len(whole)):
        with pytest.raises(ValueError, match="message|byte order"):
            message.parse(whole[:end])
    with pytest.raises(ValueError, match="message|byte order"):
        message.total_length(b"l\1\0\1" + b"\xff" * 12)
    with pytest.raises(ValueError, match="message|byte order"):
        message.total_length(b"x" * 16)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("unix:path=/run/user/1000/bus", "/run/user/1000/bus"),
        ("tcp:host=x;unix:guid=1,path=/a%20b", "/a b"),
        ("unix:abstract=/tmp/x", "\0/tmp/x"),
        ("tcp:host=x", ""),
        ("", ""),
        ("unix:path=%zz", ""),
    ],
)
def test_addresses(address, path):
    assert connection.socket_path(address) == path


class Peer(threading.Thread):
    """The other end of a real socket: takes the greeting, then gives each call its answer."""

    def __init__(self, path: Path, greeting: bytes, answers: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.greeting, self.answers = greeting, answers
        self.received = b""
        self.start()

    def run(self) -> None:
        other, _ = self.listener.accept()
        while b"BEGIN\r\n" not in self.received:
            self.received += other.recv(4096)
        other.sendall(self.greeting)
        for answer in self.answers:
            other.recv(4096)
            # In pieces, as a stream may give it.
            for index in range(0, len(answer), 7):
                other.sendall(answer[index : index + 7])
        other.close()
        self.listener.close()


def answer(kind: int, serial: int, text: str) -> bytes:
    content = message.marshal("s", (text,))
    data = bytearray(message.pack("<BBBBII", ord("l"), kind, 0, 1, len(content), 1))
    fields = [(5, ("u", serial)), (8, ("g", "s"))]
    if kind == message.ERROR:
        fields.append((4, ("s", "a.b.Wrong")))
    message._put(data, "a(yv)", fields)
    message._pad(data, 8)
    return bytes(data) + content


def test_calls_errors_and_the_end(tmp_path):
    path = tmp_path / "socket"
    peer = Peer(
        path,
        b"DATA\r\nOK 0123\r\n",
        [answer(2, 1, "fine"), answer(3, 2, "it is wrong"), b""],
    )
    made = connection.Connection(str(path), is_bus=False, first_fd=50)
    assert made.socket.fileno() >= 50
    assert made.call("a.b", "/", "a.b.C", "Do") == ("fine",)
    with pytest.raises(connection.CallFailure, match="it is wrong") as caught:
        made.call("a.b", "/", "a.b.C", "Do")
    assert caught.value.name == "a.b.Wrong"
    with pytest.raises(Failure, match="has closed the connection"):
        made.call("a.b", "/", "a.b.C", "Do")
    made.close()
    peer.join(5)
    assert peer.received.startswith(b"\0AUTH EXTERNAL\r\nDATA\r\n")


def test_who_is_not_accepted(tmp_path):
    Peer(tmp_path / "socket", b"DATA\r\nREJECTED EXTERNAL\r\n", [])
    with pytest.raises(Failure, match="does not accept user"):
        connection.Connection(str(tmp_path / "socket"), is_bus=True)


def test_nobody_there(tmp_path):
    with pytest.raises(HostFailure, match="connect to"):
        connection.Connection(str(tmp_path / "nothing"), is_bus=True)
