"""Decides how a file becomes an accepted spec: read once, parsed, judged, brought into normal form.

It must not look at the host or at the rootfs, and it runs in an interpreter that has builtins only.
"""

from __future__ import annotations

import posix

from pyrunc.errors import HostFailure, SpecFailure
from pyrunc.spec import check_generated, defaults, linux_rules, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.spec.types import Finding, Process, Resources, Spec

# A config of 5,000 mounts is below 1 MiB.
SIZE_LIMIT = 16 << 20
_CHUNK = 1 << 16
_FLAGS = posix.O_RDONLY | posix.O_NOCTTY | posix.O_CLOEXEC


def load(bundle: str, config_name: str = "config.json") -> Spec:
    """The accepted spec of a bundle, in normal form; warnings go to the log.

    Raises SpecFailure with the first problem: of the file, the JSON text, the schema or the rules. A
    caller that wants the bytes or the warnings too calls
    `read`, `parse` and `accept` itself.
    """
    path = config_name if config_name[:1] == "/" else f"{bundle}/{config_name}"
    spec, warnings = accept(parse(read(path, config_name), config_name))
    if warnings:
        from pyrunc import log

        for pointer, text in warnings:
            log.warning(f"{pointer}: {text}")
    return spec


def load_copy(path: str) -> Spec:
    """The spec of an existing container, from the copy that create has made.

    The umask is there only if the config gave one: exec inherits it otherwise.
    """
    spec, _warnings = accept(parse(read(path, path), path), umask=None)
    return spec


def load_process(path: str) -> Process:
    """The accepted process object of a file, as exec --process takes it, in normal form."""
    process = parse(read(path, path), path)
    found = check_generated.check_process(process)
    problems = [found] if found else []
    if not problems:
        rules.judge_process(process, "", problems, [])
    if problems:
        raise SpecFailure(*problems[0])
    defaults.fill_process(process)
    return process  # type: ignore[no-any-return]


def accept_resources(text: bytes, name: str) -> Resources:
    """The accepted resources object of a JSON text, as update --resources takes it."""
    resources = parse(text, name)
    found = check_generated.check_resources(resources)
    problems = [found] if found else []
    if not problems:
        linux_rules.judge_resources(resources, "", problems)
    if problems:
        raise SpecFailure(*problems[0])
    return resources  # type: ignore[no-any-return]


def accept(config: Any, umask: int | None = defaults.UMASK) -> tuple[Spec, list[Finding]]:
    """A config as `parse` gives it, as an accepted spec in normal form (the same object), and the
    warnings. `umask` is filled in where the config gives none.

    Raises SpecFailure with the first problem.
    """
    found = check_generated.check(config)
    if found is not None:
        raise SpecFailure(*found)
    warnings = rules.apply(config)
    defaults.fill(config)
    if umask is not None:
        config["process"]["user"].setdefault("umask", umask)
    return config, warnings


def parse(text: bytes, name: str) -> Any:
    """The objects of a JSON text without null members; SpecFailure names the file and the place."""
    from pyrunc.shim import JsonError, json_loads

    try:
        value = json_loads(text, SIZE_LIMIT)
    except JsonError as error:
        raise SpecFailure("", f"{name}: {error}") from error
    # Looking for the word is a hundred times faster than looking at every object.
    if b"null" in text:
        defaults.strip_nulls(value)
    return value


def read(path: str, name: str) -> bytes:
    """The bytes of a file; `name` is what messages call it."""
    try:
        fd = posix.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise SpecFailure("", f"JSON specification file {name} not found") from error
    except OSError as error:
        raise HostFailure(error.errno or 0, f"read {name}") from error
    chunks = []
    size = 0
    try:
        while chunk := posix.read(fd, _CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > SIZE_LIMIT:
                raise SpecFailure("", f"{name}: document larger than {SIZE_LIMIT} bytes")
    except OSError as error:
        raise HostFailure(error.errno or 0, f"read {name}") from error
    finally:
        posix.close(fd)
    return b"".join(chunks)
