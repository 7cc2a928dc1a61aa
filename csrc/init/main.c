/* SPDX-License-Identifier: Apache-2.0
 *
 * pyrunc-init: reads the plan, checks it, and carries it out, one operation after another.
 *
 * The runtime executes it from a sealed memfd, with an empty environment and the number of the
 * plan's descriptor as its argument.  It is the first process of the container and becomes the
 * container's. */
#include "init.h"
#include <signal.h>
#include <sys/mman.h>

typedef int operation(struct init *init, const void *op);

/* The kinds have arguments of their own; the table is where they meet, checked by check_plan(). */
#define OPERATION(name) ((operation *)(void (*)(void))(name))

static operation *const operations[OP_KIND_END] = {
    [OP_STAGE] = OPERATION(op_stage),
    [OP_SETNS] = OPERATION(op_setns),
    [OP_UNSHARE] = OPERATION(op_unshare),
    [OP_SET_RLIMIT] = OPERATION(op_set_rlimit),
    [OP_SET_OOM_SCORE_ADJ] = OPERATION(op_set_oom_score_adj),
    [OP_SET_SCHEDULER] = OPERATION(op_set_scheduler),
    [OP_SET_IO_PRIORITY] = OPERATION(op_set_io_priority),
    [OP_SET_MEMORY_POLICY] = OPERATION(op_set_memory_policy),
    [OP_SET_PERSONALITY] = OPERATION(op_set_personality),
    [OP_SESSION_KEYRING] = OPERATION(op_session_keyring),
    [OP_HOST_PROPAGATION] = OPERATION(op_host_propagation),
    [OP_OPEN_ROOTFS] = OPERATION(op_open_rootfs),
    [OP_MOUNT] = OPERATION(op_mount),
    [OP_BIND] = OPERATION(op_bind),
    [OP_PROPAGATION] = OPERATION(op_propagation),
    [OP_SET_MOUNT_ATTR] = OPERATION(op_set_mount_attr),
    [OP_MAKE_DIR] = OPERATION(op_make_dir),
    [OP_MAKE_NODE] = OPERATION(op_make_node),
    [OP_SYMLINK] = OPERATION(op_symlink),
    [OP_MASK] = OPERATION(op_mask),
    [OP_READONLY] = OPERATION(op_readonly),
    [OP_OPEN_PTY] = OPERATION(op_open_pty),
    [OP_HOOK] = OPERATION(op_hook),
    [OP_PIVOT_ROOT] = OPERATION(op_pivot_root),
    [OP_WRITE_SYSCTL] = OPERATION(op_write_sysctl),
    [OP_SET_HOSTNAME] = OPERATION(op_set_hostname),
    [OP_SET_DOMAINNAME] = OPERATION(op_set_domainname),
    [OP_SET_LABEL] = OPERATION(op_set_label),
    [OP_OWN_STDIO] = OPERATION(op_own_stdio),
    [OP_NO_NEW_PRIVS] = OPERATION(op_no_new_privs),
    [OP_LOAD_SECCOMP] = OPERATION(op_load_seccomp),
    [OP_DROP_BOUNDING] = OPERATION(op_drop_bounding),
    [OP_SET_IDS] = OPERATION(op_set_ids),
    [OP_SET_CAPS] = OPERATION(op_set_caps),
    [OP_CHANGE_DIR] = OPERATION(op_change_dir),
    [OP_SET_ENVIRONMENT] = OPERATION(op_set_environment),
    [OP_FIND_EXECUTABLE] = OPERATION(op_find_executable),
    [OP_CLOSE_FDS] = OPERATION(op_close_fds),
    [OP_AWAIT_START] = OPERATION(op_await_start),
    [OP_EXECUTE] = OPERATION(op_execute),
    [OP_LOOPBACK_UP] = OPERATION(op_loopback_up),
    [OP_RESPAWN] = OPERATION(op_respawn),
    [OP_JOIN_PROCESS] = OPERATION(op_join_process),
    [OP_UNMOUNT] = OPERATION(op_unmount),
    [OP_OUTLIVE] = OPERATION(op_outlive),
    [OP_SET_AFFINITY] = OPERATION(op_set_affinity),
};

/* A signal that the runtime's caller ignores must not be ignored in the container.  Raw calls,
 * since libc keeps some numbers to itself: a zeroed structure is SIG_DFL on every architecture. */
static void reset_signals(void) {
    unsigned long action[8] = {0};
    uint64_t mask = 0;
    for (int number = 1; number <= 64; number++)
        syscall(SYS_rt_sigaction, number, action, NULL, sizeof mask);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

/* Nothing but 0, 1, 2 survives an execve, of a hook or of the process, unless OP_CLOSE_FDS says so.
 * CLOSE_RANGE_CLOEXEC: Linux 5.11. */
static void close_at_exec(void) {
    if (kernel_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    long limit = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < limit; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* A copy of the plan in memory of init's own, which nobody can change any more. */
static int read_plan(struct init *init, int fd) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return failed(init, CALL_READ_PLAN, -errno, NULL);
    if (status.st_size < (off_t)sizeof(struct shim_header) || status.st_size > SHIM_PLAN_MAX)
        return failed(init, CALL_READ_PLAN, -EINVAL, NULL);
    size_t size = (size_t)status.st_size;
    unsigned char *plan =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (plan == MAP_FAILED)
        return failed(init, CALL_READ_PLAN, -ENOMEM, NULL);
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, plan + done, size - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return failed(init, CALL_READ_PLAN, got < 0 ? -errno : -EIO, NULL);
        done += (size_t)got;
    }
    close(fd);
    init->plan = plan;
    init->plan_size = size;
    return 0;
}

static int take_plan(struct init *init, const char *number) {
    char *end;
    long fd = strtol(number, &end, 10);
    if (*end || end == number || fd < 3 || fd > INT32_MAX)
        return -EINVAL;
    int error = read_plan(init, (int)fd);
    if (error)
        return error;
    const struct shim_header *header = (const struct shim_header *)init->plan;
    if (header->magic == SHIM_MAGIC && header->version == SHIM_VERSION && header->sync_fd > 2)
        init->sync_fd = header->sync_fd;
    error = check_plan(init->plan, init->plan_size, &init->index);
    if (error)
        return failed(init, CALL_CHECK_PLAN, error, NULL);
    init->index = -1;
    init->count = header->count;
    init->traced = header->flags & PLAN_TRACED;
    init->op = (const struct shim_op *)(const void *)(init->plan + header->first);
    return 0;
}

/* Where the caller closed 0, 1 or 2, what init opens for itself would become the container's. */
static int fill_stdio(struct init *init) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return failed(init, CALL_OPEN, -errno, "/dev/null");
    return 0;
}

/* The processors that the caller confined the runtime to are none of the container's; its cpuset
 * still holds. */
static void reset_affinity(void) {
    unsigned long all[128]; /* 8192 processors, the most that Linux can have */
    memset(all, 0xff, sizeof all);
    (void)syscall(SYS_sched_setaffinity, 0, sizeof all, all);
}

static const struct shim_op *next_op(const struct shim_op *op) {
    return (const struct shim_op *)(const void *)((const unsigned char *)op + op->size);
}

/* Whether an unprivileged runtime has to write to init's files in /proc, which belong to its user
 * only as long as init can be traced (ptrace(2)). */
static bool awaits_user_idmap(const struct init *init) {
    const struct shim_op *op = init->op;
    for (uint32_t i = 0; i < init->count; i++, op = next_op(op))
        if (op->kind == OP_STAGE && ((const struct shim_op_stage *)op)->stage == STAGE_USER_IDMAP)
            return true;
    return false;
}

/* Its own session from the beginning: the runtime's terminal is none of the container's. */
static int prepare(struct init *init) {
    umask(0);
    reset_signals();
    int error = fill_stdio(init);
    if (error)
        return error;
    close_at_exec();
    reset_affinity();
    open_proc(init);
    if (setsid() < 0 && getsid(0) != getpid())
        return failed(init, CALL_SETSID, -errno, NULL);
    init->traceable = awaits_user_idmap(init);
    return guard_process(init);
}

static int carry_out(struct init *init) {
    for (uint32_t i = 0; i < init->count; i++) {
        init->index = (int)i;
        if (init->traced && init->op->kind != OP_AWAIT_START)
            trace_operation(init);
        int error = operations[init->op->kind](init, init->op);
        if (error)
            return error;
        init->op = next_op(init->op);
    }
    return 0;
}

int main(int argc, char **argv) {
    static struct init init = {
        .index = -1,
        .sync_fd = -1,
        .proc_fd = -1,
        .rootfs_fd = -1,
        .null_fd = -1,
        .mask_fd = -1,
        .listener_fd = -1,
        .report_fd = -1,
    };
    int error = argc == 2 ? take_plan(&init, argv[1]) : -EINVAL;
    if (!error)
        error = prepare(&init);
    if (!error)
        error = carry_out(&init);
    if (error) {
        send_failure(&init, error);
        leave(1);
    }
    /* A plan without an OP_EXECUTE ends here. */
    return 0;
}
