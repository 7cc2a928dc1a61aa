"""Decides when a seccomp filter is compiled, and when a compiled one may be used again.

It must not trust a cached filter for its name: owner, mode and digest are verified each time.
"""

from __future__ import annotations

import posix
from _blake2 import blake2b

from pyrunc import version
from pyrunc.errors import SpecFailure
from pyrunc.plan import seccomp as profiles
from pyrunc.shim.constants import S_IFDIR, S_IFMT, S_IFREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.seccomp import Profile

# Below the root directory, beside the containers; no container can have this id.
CACHE = (".cache", "seccomp")
_DIGEST = 32
# libseccomp's list of rules is searched from its beginning; runc's threshold.
_TREE_FROM = 32
# sizeof(struct sock_filter)
_INSTRUCTION = 8
_READ_LIMIT = 1 << 20


def compile(  # noqa: A001 - what the caller reads is seccomp.compile
    seccomp: Mapping[str, Any], root: str, annotations: Mapping[str, str] = {}
) -> tuple[bytes, int]:
    """The filter of an accepted linux.seccomp, struct sock_filter[], and its SECCOMP_FILTER_FLAG_*.

    Compiling takes milliseconds, hence the cache below `root`, where that directory exists.
    """
    from pyrunc.shim import seccomp as shim

    profile = profiles.normalise(seccomp)
    if annotations:
        from pyrunc import annotated

        if annotations.get(annotated.SECCOMP_BPF_DATA):
            place = f"/annotations/{annotated.SECCOMP_BPF_DATA}"
            return decode(annotations[annotated.SECCOMP_BPF_DATA], place), profile.flags
        if annotated.is_set(annotations, annotated.SECCOMP_FAIL_UNKNOWN):
            return compile_profile(profile, fail_unknown=True), profile.flags
    key = cache_key(profile, shim.version())
    directory_fd = _open_cache(root)
    try:
        program = _load(directory_fd, key) if directory_fd >= 0 else None
        if program is None:
            program = compile_profile(profile)
            if directory_fd >= 0:
                _store(directory_fd, key, program)
    finally:
        if directory_fd >= 0:
            posix.close(directory_fd)
    return program, profile.flags


def decode(data: str, place: str) -> bytes:
    """A filter that is given compiled, in base64; seccomp(2) judges it further."""
    from binascii import Error, a2b_base64

    try:
        program = a2b_base64(data.encode())
    except Error as error:
        raise SpecFailure(place, f"is no base64: {error}") from error
    if not program or len(program) % _INSTRUCTION:
        raise SpecFailure(
            place, f"must hold instructions of {_INSTRUCTION} bytes, got {len(program)} bytes"
        )
    return program


def compile_profile(profile: Profile, fail_unknown: bool = False) -> bytes:
    """The filter of a profile, by libseccomp; names of system calls that it lacks are left out, or
    a SpecFailure."""
    from pyrunc.shim.seccomp import Compiler

    place = "/linux/seccomp"
    compiler = Compiler(profile.action, profile.errno, f"{place}/defaultAction")
    for number, name in enumerate(profile.architectures):
        compiler.add_arch(name, f"{place}/architectures/{number}")
    count = 0
    for rule in profile.rules:
        for name in rule.names:
            known = compiler.add_rule(rule.action, rule.errno, name, rule.conditions, rule.pointer)
            if fail_unknown and not known:
                raise SpecFailure(rule.pointer, f'system call "{name}" is unknown to libseccomp')
            count += known
    if count > _TREE_FROM:
        compiler.use_tree()
    return compiler.compile(profile.answers_enosys)


def cache_key(profile: Profile, library: int) -> str:
    """A name for all that a compiled filter depends on."""
    rules = [(rule.names, rule.action, rule.errno, rule.conditions) for rule in profile.rules]
    text = repr(
        (
            (version.VERSION, version.COMMIT, library, posix.uname().machine),
            (profile.action, profile.errno, profile.architectures),
            rules,
        )
    )
    data = text.encode("utf-8", "surrogateescape")
    return blake2b(data, digest_size=_DIGEST).hexdigest()


def _open_cache(root: str) -> int:
    """Open the cache's directory, made if need be; -1 where there is none that can be trusted."""
    fd = -1
    try:
        fd = posix.open(root, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        for name in CACHE:
            below = _open_directory(fd, name)
            posix.close(fd)
            fd = below
            if not _is_ours(fd, S_IFDIR):
                posix.close(fd)
                return -1
    except OSError:
        # A cache is no need: read-only, full or missing directories only cost time.
        if fd >= 0:
            posix.close(fd)
        return -1
    return fd


def _open_directory(parent_fd: int, name: str) -> int:
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        return posix.open(name, flags, dir_fd=parent_fd)
    except FileNotFoundError:
        pass
    try:
        posix.mkdir(name, 0o700, dir_fd=parent_fd)
    except FileExistsError:
        pass
    return posix.open(name, flags, dir_fd=parent_fd)


def _is_ours(fd: int, kind: int) -> bool:
    """Whether nobody but us could have written this."""
    status = posix.fstat(fd)
    return (
        status.st_mode & S_IFMT == kind
        and status.st_uid == posix.geteuid()
        and not status.st_mode & 0o077
    )


def _load(directory_fd: int, key: str) -> bytes | None:
    try:
        fd = posix.open(
            key,
            posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK,
            dir_fd=directory_fd,
        )
    except OSError:
        return None
    try:
        if not _is_ours(fd, S_IFREG):
            return None
        data = posix.read(fd, _READ_LIMIT)
    except OSError:
        return None
    finally:
        posix.close(fd)
    digest, program = data[:_DIGEST], data[_DIGEST:]
    if program and digest == _seal(key, program):
        return program
    return None


def _seal(key: str, program: bytes) -> bytes:
    # With the key, lest a file be taken for that of another profile.
    return blake2b(key.encode() + program, digest_size=_DIGEST).digest()


def _store(directory_fd: int, key: str, program: bytes) -> None:
    """Put a filter into the cache at once or not at all; where that fails, nothing is lost."""
    new = f"{key}.{posix.getpid()}"
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
        fd = posix.open(new, flags, 0o600, dir_fd=directory_fd)
    except OSError:
        return
    try:
        try:
            data = _seal(key, program) + program
            complete = posix.write(fd, data) == len(data)
        finally:
            posix.close(fd)
        if complete:
            posix.rename(new, key, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        else:
            posix.unlink(new, dir_fd=directory_fd)
    except OSError:
        try:
            posix.unlink(new, dir_fd=directory_fd)
        except OSError:
            return
