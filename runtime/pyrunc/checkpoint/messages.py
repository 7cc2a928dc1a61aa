"""Decides which messages CRIU's service understands, by the numbers of its rpc.proto (CRIU 3.17).

It must not choose values: `options` does.
"""

from __future__ import annotations

from pyrunc.checkpoint.protobuf import NUMBER, TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.checkpoint.protobuf import Table

# enum criu_req_type
DUMP, RESTORE, PRE_DUMP, NOTIFY = 1, 2, 4, 6
# enum criu_cg_mode, by the names that --manage-cgroups-mode has.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}
# enum criu_network_lock_method
NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}

PAGE_SERVER: Table = {"address": (1, TEXT), "port": (2, NUMBER)}
CGROUP_ROOT: Table = {"ctrl": (1, TEXT), "path": (2, TEXT)}
INHERIT_FD: Table = {"key": (1, TEXT), "fd": (2, NUMBER)}
JOIN_NAMESPACE: Table = {"ns": (1, TEXT), "ns_file": (2, TEXT)}

# message criu_opts
OPTIONS: Table = {
    # Descriptors of the process that made the socket, not of CRIU's own.
    "images_dir_fd": (1, NUMBER),
    "pid": (2, NUMBER),
    "leave_running": (3, NUMBER),
    "ext_unix_sk": (4, NUMBER),
    "tcp_established": (5, NUMBER),
    "evasive_devices": (6, NUMBER),
    "shell_job": (7, NUMBER),
    "file_locks": (8, NUMBER),
    "log_level": (9, NUMBER),
    "log_file": (10, TEXT),
    "ps": (11, PAGE_SERVER),
    "notify_scripts": (12, NUMBER),
    "root": (13, TEXT),
    "parent_img": (14, TEXT),
    "track_mem": (15, NUMBER),
    "auto_dedup": (16, NUMBER),
    "work_dir_fd": (17, NUMBER),
    "link_remap": (18, NUMBER),
    "manage_cgroups": (24, NUMBER),
    "cg_root": (25, CGROUP_ROOT),
    "rst_sibling": (26, NUMBER),
    # Descriptors of CRIU's own.
    "inherit_fd": (27, INHERIT_FD),
    "ext_sharing": (29, NUMBER),
    "ext_masters": (30, NUMBER),
    "manage_cgroups_mode": (34, NUMBER),
    "external": (37, TEXT),
    "empty_ns": (38, NUMBER),
    "join_ns": (39, JOIN_NAMESPACE),
    "freeze_cgroup": (44, TEXT),
    "tcp_skip_in_flight": (46, NUMBER),
    "lazy_pages": (48, NUMBER),
    "status_fd": (49, NUMBER),
    "orphan_pts_master": (50, NUMBER),
    "config_file": (51, TEXT),
    "tcp_close": (52, NUMBER),
    "lsm_profile": (53, TEXT),
    "lsm_mount_context": (63, TEXT),
    "network_lock": (64, NUMBER),
}

REQUEST: Table = {"type": (1, NUMBER), "opts": (2, OPTIONS), "notify_success": (3, NUMBER)}
RESPONSE: Table = {
    "type": (1, NUMBER),
    "success": (2, NUMBER),
    "restore": (4, {"pid": (1, NUMBER)}),
    "notify": (5, {"script": (1, TEXT), "pid": (2, NUMBER)}),
    "cr_errno": (7, NUMBER),
    "cr_errmsg": (9, TEXT),
}
