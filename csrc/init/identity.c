/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how init becomes who the container's process is: limits, keyring, labels, filter, ids,
 * capabilities. */
#include "init.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#ifndef SYS_setresuid32
#define SYS_setresuid32 SYS_setresuid
#define SYS_setresgid32 SYS_setresgid
#define SYS_setgroups32 SYS_setgroups
#endif

#define KEY_USR_SEARCH 0x00080000U
#define KEY_OTH_SEARCH 0x00000008U

/* Nobody may trace init or read its descriptors (CVE-2016-9962), and init does not outlive a
 * runtime that has not recorded it.  execve(2) and every change of credentials undo both.  A
 * runtime that was gone before is told by the end of the sync socket. */
int guard_process(struct init *init) {
    char byte;
    if (!init->traceable && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_DUMPABLE");
    if (init->started || init->sync_fd < 0)
        return 0;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_PDEATHSIG");
    if (recv(init->sync_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        leave(1);
    return 0;
}

static int set_rlimit(struct init *init, uint32_t resource, uint64_t soft, uint64_t hard) {
    uint64_t limit[2] = {soft, hard}; /* struct rlimit64 */
    if (syscall(SYS_prlimit64, 0, resource, limit, NULL) < 0)
        return failed(init, CALL_SETRLIMIT, -errno, NULL);
    return 0;
}

/* A limit can be too low for init itself, of descriptors for one, while raising it needs the rights
 * that init has at first: now it is only raised, and becomes what it shall be with apply_rlimits(),
 * by when the plan may be gone. */
int op_set_rlimit(struct init *init, const struct shim_op_set_rlimit *op) {
    uint64_t now[2];
    if (op->soft > op->hard || op->resource >= RLIM_NLIMITS)
        return failed(init, CALL_SETRLIMIT, -EINVAL, NULL);
    if (syscall(SYS_prlimit64, 0, op->resource, NULL, now) < 0)
        return failed(init, CALL_SETRLIMIT, -errno, NULL);
    init->limits[op->resource].soft = op->soft;
    init->limits[op->resource].hard = op->hard;
    init->limited |= 1U << op->resource;
    return op->hard > now[1] ? set_rlimit(init, op->resource, now[0], op->hard) : 0;
}

int apply_rlimits(struct init *init) {
    int error = 0;
    for (uint32_t i = 0; i < RLIM_NLIMITS && !error; i++)
        if (init->limited >> i & 1)
            error = set_rlimit(init, i, init->limits[i].soft, init->limits[i].hard);
    return error;
}

int op_set_oom_score_adj(struct init *init, const struct shim_op_set_oom_score_adj *op) {
    char value[16];
    snprintf(value, sizeof value, "%d", op->value);
    int error = write_in_proc(init, "self/oom_score_adj", value);
    if ((error == -EPERM || error == -EACCES) && op->flags & TOLERATE_EPERM)
        return 0;
    return error;
}

static int keyctl(int operation, unsigned long a, unsigned long b, unsigned long c) {
    return answer(syscall(SYS_keyctl, operation, a, b, c, 0));
}

/* The keyring's owner may find it: from a user namespace everybody must, since its owner is mapped.
 */
static int share_keyring(struct init *init, int keyring) {
    char description[256];
    unsigned permissions = 0;
    int size = keyctl(KEYCTL_DESCRIBE, (unsigned long)keyring, (unsigned long)description,
                      sizeof description - 1);
    if (size < 0)
        return failed(init, CALL_KEYCTL, size, "describe");
    description[sizeof description - 1] = '\0';
    const char *field = description; /* type;uid;gid;permissions;name */
    for (int i = 0; i < 3 && field; i++) {
        field = strchr(field, ';');
        field = field ? field + 1 : NULL;
    }
    if (field)
        permissions = (unsigned)strtoul(field, NULL, 16);
    permissions |= init->in_user_namespace ? KEY_OTH_SEARCH : KEY_USR_SEARCH;
    int error = keyctl(KEYCTL_SETPERM, (unsigned long)keyring, permissions, 0);
    return error < 0 ? failed(init, CALL_KEYCTL, error, "setperm") : 0;
}

int op_session_keyring(struct init *init, const struct shim_op_session_keyring *op) {
    const char *name = text(init, op->name);
    int error = op->label ? write_in_proc(init, "self/attr/keycreate", text(init, op->label)) : 0;
    if (error)
        return error;
    int keyring = keyctl(KEYCTL_JOIN_SESSION_KEYRING, (unsigned long)name, 0, 0);
    if (op->label)
        error = write_in_proc(init, "self/attr/keycreate", "");
    /* A sandbox around the runtime, or too many keys of its user, is no reason to fail: runc. */
    if (keyring == -ENOSYS || keyring == -EPERM || keyring == -EDQUOT)
        return 0;
    if (keyring < 0)
        return failed(init, CALL_KEYCTL, keyring, name);
    return error ? error : share_keyring(init, keyring);
}

int op_set_label(struct init *init, const struct shim_op_set_label *op) {
    char words[SHIM_DETAIL_MAX];
    const char *label = text(init, op->label);
    if (op->which == LABEL_SELINUX)
        return write_in_proc(init, "self/attr/exec", label);
    if (snprintf(words, sizeof words, "exec %s", label) >= (int)sizeof words)
        return failed(init, CALL_WRITE, -ENAMETOOLONG, NULL);
    /* The file of AppArmor's own: Linux 5.8. */
    int error = write_in_proc(init, "self/attr/apparmor/exec", words);
    return error == -ENOENT ? write_in_proc(init, "self/attr/exec", words) : error;
}

int op_no_new_privs(struct init *init, const struct shim_op_no_new_privs *op) {
    (void)op;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_NO_NEW_PRIVS");
    return 0;
}

int op_load_seccomp(struct init *init, const struct shim_op_load_seccomp *op) {
    uint32_t count = op->program.size / sizeof(struct sock_filter);
    struct sock_fprog program = {
        .len = (unsigned short)count,
        .filter = (struct sock_filter *)(uintptr_t)(init->plan + op->program.offset),
    };
    if (count == 0 || count > BPF_MAXINSNS)
        return failed(init, CALL_SECCOMP, -EINVAL, NULL);
    int error = answer(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, op->flags, &program));
    if (error == -ENOSYS && op->flags == 0)
        error = answer(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
    if (error < 0)
        return failed(init, CALL_SECCOMP, error, NULL);
    if (op->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
        init->listener_fd = error;
    return 0;
}

/* EINVAL ends the capabilities that this kernel knows. */
int op_drop_bounding(struct init *init, const struct shim_op_drop_bounding *op) {
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (op->keep >> capability & 1)
            continue;
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
            continue;
        int error = -errno;
        int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (held < 0)
            break;
        if (held > 0)
            return failed(init, CALL_PRCTL, error, "PR_CAPBSET_DROP");
    }
    return 0;
}

static int set_groups(struct init *init, const struct shim_op_set_ids *op) {
    const void *groups = init->plan + op->groups.offset;
    if (!(op->flags & IDS_SET_GROUPS))
        return 0;
    int error = answer(syscall(SYS_setgroups32, op->groups.size / sizeof(uint32_t), groups));
    if (error == -EPERM && op->flags & IDS_TOLERATE_DENIED_GROUPS)
        return 0;
    return error ? failed(init, CALL_SETGROUPS, error, NULL) : 0;
}

/* The first id inside of what a file of user_namespaces(7) maps; -EINVAL where that is nothing. */
static int first_mapped(struct init *init, const char *file, uint32_t *id) {
    char line[32], *end; /* the first column alone counts */
    int fd = open_in_proc(init, file, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    ssize_t size = read(fd, line, sizeof line - 1);
    int error = size < 0 ? -errno : 0;
    close(fd);
    if (error)
        return error;
    line[size] = '\0';
    *id = (uint32_t)strtoul(line, &end, 10);
    return end == line ? -EINVAL : 0;
}

static int set_id(struct init *init, const struct shim_op_set_ids *op, bool is_group) {
    long number = is_group ? SYS_setresgid32 : SYS_setresuid32;
    uint32_t id = is_group ? op->gid : op->uid;
    int error = answer(syscall(number, id, id, id));
    if (error == -EINVAL && op->flags & IDS_ANY_MAPPED) {
        error = first_mapped(init, is_group ? "self/gid_map" : "self/uid_map", &id);
        if (!error)
            error = answer(syscall(number, id, id, id));
    }
    return error ? failed(init, is_group ? CALL_SETGID : CALL_SETUID, error, NULL) : 0;
}

/* Raw system calls: musl's wrappers bring the machinery that tells all threads. */
int op_set_ids(struct init *init, const struct shim_op_set_ids *op) {
    if (op->flags & IDS_KEEP_CAPS && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_KEEPCAPS");
    int error = set_groups(init, op);
    if (error)
        return error;
    error = set_id(init, op, true);
    if (!error)
        error = set_id(init, op, false);
    if (error)
        return error;
    umask((mode_t)op->umask);
    return guard_process(init);
}

static void set_ambient(struct init *init, uint64_t ambient) {
    char name[24];
    /* EINVAL: before Linux 4.3 there are none. */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && !ambient)
        return;
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (!(ambient >> capability & 1))
            continue;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) {
            int error = -errno;
            snprintf(name, sizeof name, "ambient %lu", capability);
            send_warning(init, CALL_PRCTL, error, name);
        }
    }
}

int op_set_caps(struct init *init, const struct shim_op_set_caps *op) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)op->effective, (uint32_t)op->permitted, (uint32_t)op->inheritable},
        {(uint32_t)(op->effective >> 32), (uint32_t)(op->permitted >> 32),
         (uint32_t)(op->inheritable >> 32)},
    };
    if (syscall(SYS_capset, &header, data) < 0)
        return failed(init, CALL_CAPSET, -errno, NULL);
    set_ambient(init, op->ambient);
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_KEEPCAPS");
    return guard_process(init);
}
