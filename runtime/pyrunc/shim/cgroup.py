"""Attach programs to cgroups through the shim.

It must not know what a program decides.
"""

from __future__ import annotations

from _pyrunc_shim import ffi, lib


def attach_device_program(cgroup_fd: int, program: bytes) -> None:
    """Load the program (struct bpf_insn[]) and attach it to the cgroup v2 directory, in the place
    of those that are attached to it.

    Raises OSError: EINVAL or EACCES also when the verifier refuses.
    """
    error = lib.shim_attach_device_program(cgroup_fd, ffi.from_buffer(program), len(program))
    if error:
        raise OSError(-error, "bpf")
