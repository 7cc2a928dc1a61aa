"""Decides which annotations of config.json are acted upon; all others are only kept and told.

It must not act: who does looks a name up here, so that `features` names every one of them. They are
crun's, which engines write; whoever may set annotations may do with them what each says.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# On cgroup v2: a cgroup below the container's, which its process is moved into and manages.
DELEGATE_CGROUP = "run.oci.delegate-cgroup"
# Files of the runtime's namespaces that what hooks print is appended to.
HOOKS_STDOUT = "run.oci.hooks.stdout"
HOOKS_STDERR = "run.oci.hooks.stderr"
# Anything but "0", as in crun: the process keeps the supplementary groups of the runtime.
KEEP_ORIGINAL_GROUPS = "run.oci.keep_original_groups"
# context (the default), fscontext, defcontext or rootcontext: what linux.mountLabel is (mount(8)).
MOUNT_CONTEXT_TYPE = "run.oci.mount_context_type"
# A UNIX stream socket that gets a pidfd of init.
PIDFD_RECEIVER = "run.oci.pidfd_receiver"
# A compiled filter (base64) in the place of the rules of linux.seccomp.
SECCOMP_BPF_DATA = "run.oci.seccomp_bpf_data"
# Likewise: names of system calls that libseccomp does not know are an error.
SECCOMP_FAIL_UNKNOWN = "run.oci.seccomp_fail_unknown_syscall"
# Configuration of CRIU for checkpoint and restore; empty: none.
CRIU_CONFIG = "org.criu.config"

# With systemd: properties of the unit, and the name of a cgroup below it that the container is in.
SYSTEMD_PROPERTY = "org.systemd.property."
SYSTEMD_SUBGROUP = "run.oci.systemd.subgroup"

ALL = (
    CRIU_CONFIG,
    DELEGATE_CGROUP,
    HOOKS_STDERR,
    HOOKS_STDOUT,
    KEEP_ORIGINAL_GROUPS,
    MOUNT_CONTEXT_TYPE,
    PIDFD_RECEIVER,
    SECCOMP_BPF_DATA,
    SECCOMP_FAIL_UNKNOWN,
    SYSTEMD_PROPERTY,
    SYSTEMD_SUBGROUP,
)


def is_set(annotations: Mapping[str, str], name: str) -> bool:
    return annotations.get(name, "0") not in ("", "0")
