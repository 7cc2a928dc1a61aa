"""Lay the memory of an initialised interpreter into the executable that made it.

csrc/snapshot.c says why. It must not take over anything that belongs to the libc, which starts anew in
each process: the linker's map tells whose each part of the memory is.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

PT_LOAD, PF_W = 1, 2
# e_phoff, e_phentsize, e_phnum of ELF64; and the fields of a program header.
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SHT_SYMTAB = 2
# Whose state begins anew in each process: libc, and what the compiler adds to a program.
ANEW = re.compile(
    r"(^|/)(libc|libm[^/]*|libdl|libutil|libpthread|librt|libgcc[^/]*)\.a\(|/crt[^/]*\.o$"
)
# Sections that the linker made, or that no program writes to after its start.
PART = re.compile(
    r"^ (?:\.(?:data|bss|PyRuntime|snapshot_region)\S*|COMMON)\s+(0x\w+)\s+(0x\w+)\s+(\S.*)$"
)


def parts(map_text: str) -> list[tuple[int, int]]:
    """Return (address, size) of each writable part of the memory that is ours to set."""
    text = map_text.partition("Linker script and memory map")[2]
    # A long name of a section has the line for itself.
    text = re.sub(r"^( \.\S+)\n\s+(0x)", r"\1 \2", text, flags=re.MULTILINE)
    found = []
    for line in text.split("\n"):
        match = PART.match(line)
        if match and not line.startswith(" .data.rel.ro") and not ANEW.search(match[3]):
            address, size = int(match[1], 16), int(match[2], 16)
            if address and size:
                found.append((address, size))
    return found


class Executable:
    """An ELF file with its writable segments: each has its program header's place and fields."""

    def __init__(self, path: Path) -> None:
        self.bytes = bytearray(path.read_bytes())
        fields = HEADER.unpack_from(self.bytes)
        start, size, count = fields[5], fields[9], fields[10]
        headers = [
            (at, SEGMENT.unpack_from(self.bytes, at))
            for at in range(start, start + size * count, size)
        ]
        self.has_symbols = any(
            SECTION.unpack_from(self.bytes, fields[6] + fields[11] * index)[1] == SHT_SYMTAB
            for index in range(fields[12])
        )
        if not self.has_symbols:
            struct.pack_into("<Q", self.bytes, 40, 0)
            struct.pack_into("<HHH", self.bytes, 58, 0, 0, 0)
        self.segments = [(at, s) for at, s in headers if s[0] == PT_LOAD and s[1] & PF_W]

    def memories(self) -> list[bytearray]:
        """Return the memory of each segment as it is when the process starts."""
        found = []
        for _, (_, _, offset, _, _, file_size, size, _) in self.segments:
            found.append(bytearray(self.bytes[offset : offset + file_size].ljust(size, b"\0")))
        return found

    def set_memories(self, memories: list[bytearray]) -> None:
        """Append the new contents of the segments, and let the kernel take them from there.

        They are the last in the file but for what debuggers read: without that, they take the old place.
        """
        if not self.has_symbols:
            del self.bytes[self.segments[0][1][2] :]
        for (place, segment), memory in zip(self.segments, memories, strict=True):
            kind, flags, _, address, physical, file_size, size, align = segment
            used = memory.rstrip(b"\0")
            used += bytes(max(0, file_size - len(used)))
            self.bytes += bytes((address - len(self.bytes)) % align)
            fields = (kind, flags, len(self.bytes), address, physical, len(used), size, align)
            SEGMENT.pack_into(self.bytes, place, *fields)
            self.bytes += used


def take(executable: Path, directory: str) -> bytes:
    """Run the executable until its interpreter is initialised; return its segments one after the other.

    Without an environment: nothing of the building machine may be in it.
    """
    path = Path(directory, "memory")
    subprocess.run(
        [executable.resolve(), "--write-snapshot", path], check=True, env={"TZ": "UTC"}, cwd="/"
    )
    return path.read_bytes()


def main() -> None:
    """Give the executable its snapshot.

    Stack, heap and mappings are elsewhere in each process: what differs between two would point there.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--executable", type=Path, required=True)
    parser.add_argument("--map", type=Path, required=True)
    options = parser.parse_args()
    executable = Executable(options.executable)
    memories = executable.memories()
    with tempfile.TemporaryDirectory() as directory:
        first, second = take(options.executable, directory), take(options.executable, directory)
    ours = parts(options.map.read_text())
    differing = []
    start = 0
    for (_, segment), memory in zip(executable.segments, memories, strict=True):
        for address, size in ours:
            begin = address - segment[3]
            if 0 <= begin < len(memory):
                taken = slice(start + begin, start + begin + size)
                if first[taken] != second[taken]:
                    differing.append(hex(address))
                memory[begin : begin + size] = first[taken]
        start += len(memory)
    if differing:
        print(
            f"no snapshot, pyrunc will start slower: two runs differ at {differing}",
            file=sys.stderr,
        )
        return
    executable.set_memories(memories)
    with_snapshot = options.executable.with_suffix(".snapshot")
    with_snapshot.write_bytes(executable.bytes)
    with_snapshot.chmod(0o755)
    done = subprocess.run([with_snapshot.resolve(), "--version"], stdout=subprocess.DEVNULL)
    if done.returncode:
        print(
            f"no snapshot, pyrunc will start slower: it ends with {done.returncode}",
            file=sys.stderr,
        )
        return
    with_snapshot.replace(options.executable)


if __name__ == "__main__":
    main()
