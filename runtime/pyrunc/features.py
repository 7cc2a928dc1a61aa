"""Decides what the features document says: what this version really does, on any host.

It must not promise more: containerd, CRI-O and docker choose by it whether to ask for user
namespaces of pods (idmap) or recursively read-only mounts (rro). It must stay instant, since
engines ask often: constants, and no look at the system but uname(2) and a call that says whether it
is there.
"""

from __future__ import annotations

import posix

from pyrunc import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
SECCOMP_ACTIONS = (
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
)
SECCOMP_OPERATORS = (
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
)
# Those of libseccomp 2.5, the oldest that pyrunc is linked with.
SECCOMP_ARCHS = (
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
)
# The Linux version that each flag came with (seccomp(2)).
SECCOMP_FLAGS = {
    "SECCOMP_FILTER_FLAG_LOG": (4, 14),
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": (4, 17),
    "SECCOMP_FILTER_FLAG_TSYNC": (3, 17),
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": (5, 19),
}


def build() -> dict[str, Any]:
    """Return the features document of runtime-spec 1.3.0 (features.md, features-linux.md)."""
    from pyrunc import annotated
    from pyrunc.help import libseccomp_version
    from pyrunc.plan.mount_options import RECURSIVE_TABLE, TABLE
    from pyrunc.plan.namespaces import FLAGS
    from pyrunc.shim.constants import CAPABILITIES
    from pyrunc.shim.process import has_mount_setattr

    options = {*TABLE, *RECURSIVE_TABLE}
    capabilities = sorted(CAPABILITIES.items(), key=lambda item: item[1])
    annotations = {"org.opencontainers.pyrunc.version": version.VERSION}
    if version.COMMIT:
        annotations["org.opencontainers.pyrunc.commit"] = version.COMMIT
    # The name that features.md gives as its example, whatever the runtime.
    annotations["org.opencontainers.runc.checkpoint.enabled"] = "true"
    annotations["io.github.seccomp.libseccomp.version"] = libseccomp_version()
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": version.SPEC_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted(options),
        "linux": {
            "namespaces": sorted(FLAGS),
            "capabilities": [name for name, _ in capabilities],
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": True,
                "systemdUser": True,
                "rdma": True,
            },
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": has_mount_setattr()}},
            "netDevices": {"enabled": True},
        },
        "annotations": dict(sorted(annotations.items())),
        "potentiallyUnsafeConfigAnnotations": list(annotated.ALL),
    }


def _seccomp() -> dict[str, Any]:
    kernel = kernel_version(posix.uname().release)
    return {
        "enabled": True,
        "actions": list(SECCOMP_ACTIONS),
        "operators": list(SECCOMP_OPERATORS),
        "archs": list(SECCOMP_ARCHS),
        "knownFlags": list(SECCOMP_FLAGS),
        "supportedFlags": [name for name, since in SECCOMP_FLAGS.items() if kernel >= since],
    }


def kernel_version(release: str) -> tuple[int, int]:
    """Return the first two numbers of a kernel release, (0, 0) where it has none."""
    numbers = []
    for part in release.replace("-", ".").split(".")[:2]:
        if not (part.isascii() and part.isdigit()):
            return (0, 0)
        numbers.append(int(part))
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
