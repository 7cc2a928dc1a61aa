"""Decides how the kernel's table of network devices is spoken to: rtnetlink(7), as little as needed.

It must not know why: requests come from `pyrunc.netdevices`, which alone imports it.
"""

from __future__ import annotations

import _socket
from _struct import pack, unpack_from

from pyrunc.errors import HostFailure
from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Attributes = dict[int, bytes]

# struct nlmsghdr: length, type, flags, sequence, port.
HEADER = "=IHHII"
HEADER_SIZE = 16
# struct ifinfomsg: family, padding, type, index, flags, change.
LINK = "=BxHiII"
LINK_SIZE = 16
# struct ifaddrmsg: family, prefix length, flags, scope, index.
ADDRESS = "=BBBBI"
ADDRESS_SIZE = 8


class Route:
    """A socket that speaks to the network namespace which the runtime was in when it was opened."""

    def __init__(self) -> None:
        self.socket = _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, C.NETLINK_ROUTE
        )
        self.sequence = 0

    def close(self) -> None:
        self.socket.close()

    def find(self, name: str) -> int | None:
        """Return the index of the device with this name, None where there is none."""
        wanted = _text(name)
        for index, attributes in self.links():
            if attributes.get(C.IFLA_IFNAME) == wanted:
                return index
        return None

    def links(self) -> Iterator[tuple[int, Attributes]]:
        """All devices: index and attributes (IFLA_*)."""
        for payload in self._dump(C.RTM_GETLINK, pack(LINK, 0, 0, 0, 0, 0)):
            index = unpack_from(LINK, payload)[2]
            yield index, _attributes(payload[LINK_SIZE:])

    def addresses(self, index: int) -> Iterator[tuple[bytes, int, Attributes]]:
        """The addresses of a device: the message's head, its scope, and attributes (IFA_*)."""
        for payload in self._dump(C.RTM_GETADDR, pack(ADDRESS, 0, 0, 0, 0, 0)):
            _family, _length, _flags, scope, owner = unpack_from(ADDRESS, payload)
            if owner == index:
                yield payload[:ADDRESS_SIZE], scope, _attributes(payload[ADDRESS_SIZE:])

    def move(self, index: int, namespace_fd: int, name: str) -> None:
        """Put a device into another namespace, under this name."""
        payload = pack(LINK, 0, 0, index, 0, 0)
        payload += _attribute(C.IFLA_NET_NS_FD, pack("=i", namespace_fd))
        payload += _attribute(C.IFLA_IFNAME, _text(name))
        self._ask(C.RTM_NEWLINK, 0, payload, "move network device")

    def add_address(self, head: bytes, index: int, attributes: Attributes) -> None:
        """Give a device an address that `addresses` told of another one."""
        family, length, flags, scope, _owner = unpack_from(ADDRESS, head)
        payload = pack(ADDRESS, family, length, flags, scope, index)
        payload += b"".join([_attribute(kind, value) for kind, value in attributes.items()])
        flags = C.NLM_F_CREATE | C.NLM_F_EXCL
        self._ask(C.RTM_NEWADDR, flags, payload, "add address of network device")

    def set_up(self, index: int) -> None:
        payload = pack(LINK, 0, 0, index, C.IFF_UP, C.IFF_UP)
        self._ask(C.RTM_NEWLINK, 0, payload, "set up network device")

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self.sequence += 1
        flags |= C.NLM_F_REQUEST
        size = HEADER_SIZE + len(payload)
        self.socket.send(pack(HEADER, size, kind, flags, self.sequence, 0) + payload)

    def _ask(self, kind: int, flags: int, payload: bytes, what: str) -> None:
        self._send(kind, flags | C.NLM_F_ACK, payload)
        for answer, body in self._receive():
            if answer == C.NLMSG_ERROR:
                error = unpack_from("=i", body)[0]
                if error:
                    raise HostFailure(-error, what)
                return

    def _dump(self, kind: int, payload: bytes) -> list[bytes]:
        self._send(kind, C.NLM_F_DUMP, payload)
        found: list[bytes] = []
        while True:
            for answer, body in self._receive():
                if answer == C.NLMSG_DONE:
                    return found
                if answer == C.NLMSG_ERROR:
                    raise HostFailure(-unpack_from("=i", body)[0], "list network devices")
                found.append(body)

    def _receive(self) -> list[tuple[int, bytes]]:
        """The messages of one datagram that answer the last request."""
        # Two pages are the largest that a dump sends before Linux 4.9, 32 KiB after.
        data = self.socket.recv(1 << 17)
        messages = []
        while len(data) >= HEADER_SIZE:
            size, kind, _flags, sequence, _port = unpack_from(HEADER, data)
            if size < HEADER_SIZE:
                break
            if sequence == self.sequence:
                messages.append((kind, data[HEADER_SIZE:size]))
            data = data[_aligned(size) :]
        return messages


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _text(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape") + b"\0"


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return pack("=HH", size, kind) + value + bytes(_aligned(size) - size)


def _attributes(data: bytes) -> Attributes:
    found = {}
    while len(data) >= 4:
        size, kind = unpack_from("=HH", data)
        if size < 4:
            break
        # The two highest bits say of what kind the value is (NLA_TYPE_MASK).
        found[kind & 0x3FFF] = data[4:size]
        data = data[_aligned(size) :]
    return found
