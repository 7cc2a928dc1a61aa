/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides whether a buffer is a plan: every size, offset, string, kind, flag and enumeration is
 * checked here once, so that no operation has to. */
#include "init.h"

enum field_type {
    FIELD_TEXT = 1, /* must be there */
    FIELD_TEXT_OR_NONE,
    FIELD_LIST,
    FIELD_LIST_FILLED, /* one string at least */
    FIELD_BLOB,        /* limit: size of an element */
    FIELD_FLAGS,       /* limit: mask of the known bits */
    FIELD_CHOICE,      /* 1 .. limit */
    FIELD_FD,          /* 0 .. */
    FIELD_FD_OR_NONE,  /* -1 .. */
    FIELD_PATH         /* as FIELD_TEXT, and begins with a slash */
};

struct field {
    uint8_t kind; /* enum shim_op_kind */
    uint8_t type;
    uint16_t offset;
    uint32_t limit;
};

#define FIELD(kind, structure, member, type, limit)                                                \
    { kind, type, offsetof(struct structure, member), limit }

static const struct field fields[] = {
    FIELD(OP_STAGE, shim_op_stage, stage, FIELD_CHOICE, STAGE_END - 1),
    FIELD(OP_SETNS, shim_op_setns, fd, FIELD_FD, 0),
    FIELD(OP_SET_OOM_SCORE_ADJ, shim_op_set_oom_score_adj, flags, FIELD_FLAGS, TOLERATE_EPERM),
    FIELD(OP_SET_MEMORY_POLICY, shim_op_set_memory_policy, nodes, FIELD_BLOB, 8),
    FIELD(OP_SESSION_KEYRING, shim_op_session_keyring, name, FIELD_TEXT, 0),
    FIELD(OP_SESSION_KEYRING, shim_op_session_keyring, label, FIELD_TEXT_OR_NONE, 0),
    FIELD(OP_OPEN_ROOTFS, shim_op_open_rootfs, path, FIELD_PATH, 0),
    FIELD(OP_OPEN_ROOTFS, shim_op_open_rootfs, flags, FIELD_FLAGS,
          ROOTFS_BIND | ROOTFS_PARENT_PRIVATE),
    FIELD(OP_MOUNT, shim_op_mount, fstype, FIELD_TEXT, 0),
    FIELD(OP_MOUNT, shim_op_mount, source, FIELD_TEXT_OR_NONE, 0),
    FIELD(OP_MOUNT, shim_op_mount, target, FIELD_PATH, 0),
    FIELD(OP_MOUNT, shim_op_mount, target_flags, FIELD_FLAGS, 31),
    FIELD(OP_MOUNT, shim_op_mount, data, FIELD_LIST, 0),
    FIELD(OP_MOUNT, shim_op_mount, flags, FIELD_FLAGS,
          MOUNT_TMPCOPYUP | MOUNT_KEEP_MODE | MOUNT_FALL_BACK_TO_BIND | MOUNT_REMOUNT |
              MOUNT_BIND_READONLY),
    FIELD(OP_BIND, shim_op_bind, source, FIELD_PATH, 0),
    FIELD(OP_BIND, shim_op_bind, target, FIELD_PATH, 0),
    FIELD(OP_BIND, shim_op_bind, target_flags, FIELD_FLAGS, 31),
    FIELD(OP_BIND, shim_op_bind, flags, FIELD_FLAGS,
          BIND_RECURSIVE | BIND_OPTIONAL | BIND_SOURCE_PROC | BIND_BY_RUNTIME |
              BIND_SOURCE_NOFOLLOW | BIND_COPY_SYMLINK),
    FIELD(OP_PROPAGATION, shim_op_propagation, target, FIELD_PATH, 0),
    FIELD(OP_SET_MOUNT_ATTR, shim_op_set_mount_attr, target, FIELD_PATH, 0),
    FIELD(OP_UNMOUNT, shim_op_unmount, target, FIELD_PATH, 0),
    FIELD(OP_MAKE_DIR, shim_op_make_dir, path, FIELD_PATH, 0),
    FIELD(OP_MAKE_DIR, shim_op_make_dir, mode, FIELD_FLAGS, 07777),
    FIELD(OP_MAKE_NODE, shim_op_make_node, path, FIELD_PATH, 0),
    FIELD(OP_MAKE_NODE, shim_op_make_node, mode, FIELD_FLAGS, 0177777),
    FIELD(OP_MAKE_NODE, shim_op_make_node, bind_from, FIELD_TEXT_OR_NONE, 0),
    FIELD(OP_SYMLINK, shim_op_symlink, text, FIELD_TEXT, 0),
    FIELD(OP_SYMLINK, shim_op_symlink, path, FIELD_PATH, 0),
    FIELD(OP_SYMLINK, shim_op_symlink, target_flags, FIELD_FLAGS, 15),
    FIELD(OP_MASK, shim_op_mask, path, FIELD_PATH, 0),
    FIELD(OP_MASK, shim_op_mask, label, FIELD_TEXT_OR_NONE, 0),
    FIELD(OP_READONLY, shim_op_readonly, path, FIELD_PATH, 0),
    FIELD(OP_OPEN_PTY, shim_op_open_pty, socket_fd, FIELD_FD_OR_NONE, 0),
    FIELD(OP_OPEN_PTY, shim_op_open_pty, flags, FIELD_FLAGS, PTY_BIND_CONSOLE | PTY_HAS_SIZE),
    FIELD(OP_HOOK, shim_op_hook, hook, FIELD_CHOICE, HOOK_START_CONTAINER),
    FIELD(OP_HOOK, shim_op_hook, path, FIELD_PATH, 0),
    FIELD(OP_HOOK, shim_op_hook, timeout, FIELD_FLAGS, INT32_MAX),
    FIELD(OP_HOOK, shim_op_hook, args, FIELD_LIST, 0),
    FIELD(OP_HOOK, shim_op_hook, env, FIELD_LIST, 0),
    FIELD(OP_HOOK, shim_op_hook, output_fd[0], FIELD_FD_OR_NONE, 0),
    FIELD(OP_HOOK, shim_op_hook, output_fd[1], FIELD_FD_OR_NONE, 0),
    FIELD(OP_PIVOT_ROOT, shim_op_pivot_root, how, FIELD_CHOICE, PIVOT_CHROOT),
    FIELD(OP_WRITE_SYSCTL, shim_op_write_sysctl, path, FIELD_TEXT, 0),
    FIELD(OP_WRITE_SYSCTL, shim_op_write_sysctl, value, FIELD_TEXT, 0),
    FIELD(OP_SET_HOSTNAME, shim_op_set_hostname, name, FIELD_TEXT, 0),
    FIELD(OP_SET_DOMAINNAME, shim_op_set_domainname, name, FIELD_TEXT, 0),
    FIELD(OP_SET_LABEL, shim_op_set_label, label, FIELD_TEXT, 0),
    FIELD(OP_SET_LABEL, shim_op_set_label, which, FIELD_CHOICE, LABEL_SELINUX),
    FIELD(OP_LOAD_SECCOMP, shim_op_load_seccomp, program, FIELD_BLOB, 8),
    FIELD(OP_SET_IDS, shim_op_set_ids, groups, FIELD_BLOB, 4),
    FIELD(OP_SET_IDS, shim_op_set_ids, umask, FIELD_FLAGS, 07777),
    FIELD(OP_SET_IDS, shim_op_set_ids, flags, FIELD_FLAGS,
          IDS_SET_GROUPS | IDS_TOLERATE_DENIED_GROUPS | IDS_KEEP_CAPS | IDS_ANY_MAPPED),
    FIELD(OP_CHANGE_DIR, shim_op_change_dir, path, FIELD_PATH, 0),
    FIELD(OP_CHANGE_DIR, shim_op_change_dir, flags, FIELD_FLAGS,
          CHANGE_DIR_CREATE | CHANGE_DIR_TOLERATE),
    FIELD(OP_SET_ENVIRONMENT, shim_op_set_environment, env, FIELD_LIST, 0),
    FIELD(OP_SET_ENVIRONMENT, shim_op_set_environment, flags, FIELD_FLAGS,
          ENVIRONMENT_HOME | ENVIRONMENT_LISTEN_PID),
    FIELD(OP_FIND_EXECUTABLE, shim_op_find_executable, name, FIELD_TEXT, 0),
    FIELD(OP_CLOSE_FDS, shim_op_close_fds, first, FIELD_FD, 0),
    FIELD(OP_AWAIT_START, shim_op_await_start, fifo_fd, FIELD_FD, 0),
    FIELD(OP_EXECUTE, shim_op_execute, args, FIELD_LIST_FILLED, 0),
    FIELD(OP_RESPAWN, shim_op_respawn, options, FIELD_FLAGS, RESPAWN_CLOSE_PROC),
    FIELD(OP_SET_AFFINITY, shim_op_set_affinity, processors, FIELD_BLOB, 8),
    FIELD(OP_JOIN_PROCESS, shim_op_join_process, pid_fd, FIELD_FD, 0),
    FIELD(OP_JOIN_PROCESS, shim_op_join_process, pid, FIELD_CHOICE, INT32_MAX),
};

static const uint8_t sizes[OP_KIND_END] = {
    [OP_STAGE] = sizeof(struct shim_op_stage),
    [OP_SETNS] = sizeof(struct shim_op_setns),
    [OP_UNSHARE] = sizeof(struct shim_op_unshare),
    [OP_SET_RLIMIT] = sizeof(struct shim_op_set_rlimit),
    [OP_SET_OOM_SCORE_ADJ] = sizeof(struct shim_op_set_oom_score_adj),
    [OP_SET_SCHEDULER] = sizeof(struct shim_op_set_scheduler),
    [OP_SET_IO_PRIORITY] = sizeof(struct shim_op_set_io_priority),
    [OP_SET_MEMORY_POLICY] = sizeof(struct shim_op_set_memory_policy),
    [OP_SET_PERSONALITY] = sizeof(struct shim_op_set_personality),
    [OP_SESSION_KEYRING] = sizeof(struct shim_op_session_keyring),
    [OP_HOST_PROPAGATION] = sizeof(struct shim_op_host_propagation),
    [OP_OPEN_ROOTFS] = sizeof(struct shim_op_open_rootfs),
    [OP_MOUNT] = sizeof(struct shim_op_mount),
    [OP_BIND] = sizeof(struct shim_op_bind),
    [OP_PROPAGATION] = sizeof(struct shim_op_propagation),
    [OP_SET_MOUNT_ATTR] = sizeof(struct shim_op_set_mount_attr),
    [OP_MAKE_DIR] = sizeof(struct shim_op_make_dir),
    [OP_MAKE_NODE] = sizeof(struct shim_op_make_node),
    [OP_SYMLINK] = sizeof(struct shim_op_symlink),
    [OP_MASK] = sizeof(struct shim_op_mask),
    [OP_READONLY] = sizeof(struct shim_op_readonly),
    [OP_OPEN_PTY] = sizeof(struct shim_op_open_pty),
    [OP_HOOK] = sizeof(struct shim_op_hook),
    [OP_PIVOT_ROOT] = sizeof(struct shim_op_pivot_root),
    [OP_WRITE_SYSCTL] = sizeof(struct shim_op_write_sysctl),
    [OP_SET_HOSTNAME] = sizeof(struct shim_op_set_hostname),
    [OP_SET_DOMAINNAME] = sizeof(struct shim_op_set_domainname),
    [OP_SET_LABEL] = sizeof(struct shim_op_set_label),
    [OP_OWN_STDIO] = sizeof(struct shim_op_own_stdio),
    [OP_NO_NEW_PRIVS] = sizeof(struct shim_op_no_new_privs),
    [OP_LOAD_SECCOMP] = sizeof(struct shim_op_load_seccomp),
    [OP_DROP_BOUNDING] = sizeof(struct shim_op_drop_bounding),
    [OP_SET_IDS] = sizeof(struct shim_op_set_ids),
    [OP_SET_CAPS] = sizeof(struct shim_op_set_caps),
    [OP_CHANGE_DIR] = sizeof(struct shim_op_change_dir),
    [OP_SET_ENVIRONMENT] = sizeof(struct shim_op_set_environment),
    [OP_FIND_EXECUTABLE] = sizeof(struct shim_op_find_executable),
    [OP_CLOSE_FDS] = sizeof(struct shim_op_close_fds),
    [OP_AWAIT_START] = sizeof(struct shim_op_await_start),
    [OP_EXECUTE] = sizeof(struct shim_op_execute),
    [OP_LOOPBACK_UP] = sizeof(struct shim_op_loopback_up),
    [OP_RESPAWN] = sizeof(struct shim_op_respawn),
    [OP_JOIN_PROCESS] = sizeof(struct shim_op_join_process),
    [OP_UNMOUNT] = sizeof(struct shim_op_unmount),
    [OP_OUTLIVE] = sizeof(struct shim_op_outlive),
    [OP_SET_AFFINITY] = sizeof(struct shim_op_set_affinity),
};

/* One operation: what it refers to lies in it, behind its structure, so that nothing of the
 * operations before is needed once they are carried out. */
struct place {
    const unsigned char *plan;
    size_t begin; /* offsets in the plan */
    size_t end;
};

/* The offset after the string at `offset`, 0 where it does not end inside of the operation. */
static size_t check_text(const struct place *place, size_t offset) {
    if (offset < place->begin || offset >= place->end)
        return 0;
    const unsigned char *end = memchr(place->plan + offset, 0, place->end - offset);
    return end ? (size_t)(end - place->plan) + 1 : 0;
}

static bool check_list(const struct place *place, struct shim_list list) {
    size_t offset = list.offset;
    for (uint32_t i = 0; i < list.count; i++) {
        offset = check_text(place, offset);
        if (!offset)
            return false;
    }
    return true;
}

static bool check_blob(const struct place *place, struct shim_blob blob, uint32_t element) {
    if (!blob.size)
        return true;
    return blob.size % element == 0 && blob.offset >= place->begin && blob.offset <= place->end &&
           blob.size <= place->end - blob.offset;
}

static bool check_field(const struct place *place, const struct field *field) {
    uint32_t value;
    struct shim_list list; /* a shim_blob has the same layout: offset, then length */
    const unsigned char *op = place->plan + place->begin;
    memcpy(&value, op + field->offset, sizeof value);
    switch ((enum field_type)field->type) {
    case FIELD_TEXT_OR_NONE:
        return value == 0 || check_text(place, value);
    case FIELD_TEXT:
        return check_text(place, value);
    case FIELD_PATH:
        return check_text(place, value) && place->plan[value] == '/';
    case FIELD_LIST:
    case FIELD_LIST_FILLED:
        memcpy(&list, op + field->offset, sizeof list);
        return check_list(place, list) && (field->type == FIELD_LIST || list.count);
    case FIELD_BLOB:
        memcpy(&list, op + field->offset, sizeof list);
        return check_blob(place, (struct shim_blob){list.offset, list.count}, field->limit);
    case FIELD_FLAGS:
        return (value & ~field->limit) == 0;
    case FIELD_CHOICE:
        return value >= 1 && value <= field->limit;
    case FIELD_FD:
        return (int32_t)value >= 0;
    case FIELD_FD_OR_NONE:
        return (int32_t)value >= -1;
    }
    return false;
}

static bool check_op(const struct place *place, uint16_t kind) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].kind == kind && !check_field(place, &fields[i]))
            return false;
    return true;
}

static bool check_header(const unsigned char *plan, size_t size, struct shim_header *header) {
    if (size < sizeof *header || size > SHIM_PLAN_MAX)
        return false;
    memcpy(header, plan, sizeof *header);
    return header->magic == SHIM_MAGIC && header->version == SHIM_VERSION && header->size == size &&
           header->first >= sizeof *header && header->first % 8 == 0 && header->sync_fd > 2;
}

/* 0, or -EINVAL with the index of the first operation that is wrong (-1: the header). */
int check_plan(const unsigned char *plan, size_t size, int *index) {
    struct shim_header header;
    *index = -1;
    if (!check_header(plan, size, &header))
        return -EINVAL;
    size_t offset = header.first;
    for (uint32_t i = 0; i < header.count; i++) {
        struct shim_op op;
        *index = (int)i;
        if (offset > size || size - offset < sizeof op)
            return -EINVAL;
        memcpy(&op, plan + offset, sizeof op);
        if (op.kind == 0 || op.kind >= OP_KIND_END || op.size < ((sizes[op.kind] + 7U) & ~7U) ||
            op.size % 8 || op.size > size - offset ||
            !check_op(&(struct place){plan, offset, offset + op.size}, op.kind))
            return -EINVAL;
        offset += op.size;
    }
    return 0;
}
