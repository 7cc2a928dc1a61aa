/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what a created container keeps while it waits, and how it becomes the container's
 * process. */
#include "init.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>

#define KEPT 4

static bool is_null(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

/* A null device of the host's becomes the container's, where that is one (its file system may be
 * nodev). */
static void reopen_null(struct init *init, int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (init->rootfs_fd < 0 || flags < 0 || (init->null_fd < 0 && open_null(init) < 0))
        return;
    int null = resolve(init->rootfs_fd, "/dev/null",
                       &(struct wish){.flags = (flags & O_ACCMODE) | O_NOCTTY | O_NONBLOCK});
    if (null >= 0 && is_null(null) && fcntl(null, F_SETFL, flags) == 0)
        (void)dup2(null, fd);
    close_fd(&null);
}

/* A user may open its own /dev/stdout again only if it owns it. */
int op_own_stdio(struct init *init, const struct shim_op_own_stdio *op) {
    struct stat status;
    for (int fd = 0; fd <= 2; fd++) {
        if (fstat(fd, &status) < 0)
            continue;
        if (S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3))
            reopen_null(init, fd);
        else if (status.st_uid != op->uid && fchown(fd, op->uid, (gid_t)-1) < 0 && errno != EPERM &&
                 errno != EROFS && errno != EINVAL)
            return failed(init, CALL_CHOWN, -errno, "stdio");
    }
    return 0;
}

/* Everything above 2 is closed at execve already; what the container shall have is not. */
int op_close_fds(struct init *init, const struct shim_op_close_fds *op) {
    for (int fd = 3; fd < op->first; fd++)
        if (fcntl(fd, F_SETFD, 0) < 0 && errno != EBADF)
            return failed(init, CALL_CLOSE_RANGE, -errno, NULL);
    return 0;
}

static const struct shim_op *next_op(const struct shim_op *op) {
    return (const struct shim_op *)((const unsigned char *)op + op->size);
}

static uint32_t ops_left(const struct init *init) {
    return init->count - (uint32_t)init->index - 1;
}

/* The first descriptor that is not the container's. */
static int first_own_fd(const struct init *init) {
    const struct shim_op *op = init->op;
    for (uint32_t left = ops_left(init); left > 0; left--) {
        op = next_op(op);
        if (op->kind == OP_CLOSE_FDS)
            return ((const struct shim_op_close_fds *)op)->first;
    }
    return 3;
}

static const struct shim_op_hook *next_hook(const struct init *init) {
    const struct shim_op *op = init->op;
    for (uint32_t left = ops_left(init); left > 0; left--) {
        op = next_op(op);
        if (op->kind == OP_HOOK)
            return (const struct shim_op_hook *)op;
    }
    return NULL;
}

/* Whether init has hooks to run still, for which it needs more than the process's limits may leave:
 * then they come to hold in each hook, and for init with execve(2). */
bool awaits_hooks(const struct init *init) { return next_hook(init) != NULL; }

/* The strings of a vector in memory of their own, behind the pointers. */
static char **copy_vector(char **vector) {
    size_t count = 0, size = sizeof *vector;
    for (; vector[count]; count++)
        size += sizeof *vector + strlen(vector[count]) + 1;
    char **copy = malloc(size);
    if (!copy)
        return NULL;
    char *next = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = next;
        next = stpcpy(next, vector[i]) + 1;
    }
    copy[count] = NULL;
    return copy;
}

/* A created container may wait for long: what the plan says before this operation is let go, page
 * by page.  An operation's strings lie in it, and of those before only the environment is still
 * needed. */
static int settle(struct init *init) {
    long page = sysconf(_SC_PAGESIZE);
    size_t done = (size_t)((const unsigned char *)init->op - init->plan);
    if (init->environment) {
        char **environment = copy_vector(init->environment);
        if (!environment)
            return -ENOMEM;
        free(init->environment);
        init->environment = environment;
    }
    init->cwd = NULL;
    done -= done % (size_t)page;
    if (done && munmap((void *)(uintptr_t)init->plan, done) < 0)
        return -errno;
    return 0;
}

/* Closes all from `first` on but those four (-1: none), in one call between each. */
static void close_all_but(int first, const int kept[KEPT]) {
    for (int next = first;;) {
        int lowest = -1;
        for (int i = 0; i < KEPT; i++)
            if (kept[i] >= next && (lowest < 0 || kept[i] < lowest))
                lowest = kept[i];
        if (lowest < 0) {
            (void)kernel_close_range((unsigned)next, ~0U, 0);
            return;
        }
        if (lowest > next)
            (void)kernel_close_range((unsigned)next, (unsigned)lowest - 1, 0);
        next = lowest + 1;
    }
}

/* From here on nothing of the host's is open but the fifo; a filter that refuses
 * close_range(2) leaves the descriptors that are known, closed one by one. */
int op_await_start(struct init *init, const struct shim_op_await_start *op) {
    char byte;
    ssize_t got;
    int fifo_fd = op->fifo_fd, first = first_own_fd(init);
    int error = settle(init);
    if (error)
        return failed(init, CALL_READ_PLAN, error, NULL);
    if (prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_PDEATHSIG");
    init->started = true;
    init->report_fd = fifo_fd;
    if (!init->traced)
        close_fd(&init->sync_fd);
    close_fd(&init->proc_fd);
    close_fd(&init->null_fd);
    close_fd(&init->mask_fd);
    close_fd(&init->listener_fd);
    close_fd(&init->rootfs_fd);
    const struct shim_op_hook *hook = next_hook(init);
    close_all_but(first, (int[KEPT]){fifo_fd, init->sync_fd, hook ? hook->output_fd[0] : -1,
                                     hook ? hook->output_fd[1] : -1});
    /* Only now may the runtime end without init. */
    if (init->traced)
        trace_operation(init);
    do
        got = read(fifo_fd, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return failed(init, CALL_READ, -errno, "exec.fifo");
    return got == 0 ? failed(init, CALL_READ, -EPIPE, "exec.fifo") : 0;
}

/* Nothing is left open but the socket, whose end tells the runtime of execve(2). */
int op_outlive(struct init *init, const struct shim_op_outlive *op) {
    (void)op;
    if (prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
        return failed(init, CALL_PRCTL, -errno, "PR_SET_PDEATHSIG");
    close_fd(&init->proc_fd);
    close_fd(&init->null_fd);
    close_fd(&init->mask_fd);
    close_fd(&init->rootfs_fd);
    close_all_but(first_own_fd(init), (int[KEPT]){init->sync_fd, -1, -1, -1});
    return 0;
}

/* The runtime is told, where it listens still: execve(2) ends the conversation, as the socket is
 * closed by it.  Else the error goes to the container's standard error, as runc's does. */
int op_execute(struct init *init, const struct shim_op_execute *op) {
    static char *none[] = {NULL};
    char buffer[24], words[SHIM_DETAIL_MAX];
    char **args = make_vector(init, op->args, 0);
    if (!args)
        return failed(init, CALL_EXECVE, -ENOMEM, NULL);
    int error = apply_rlimits(init);
    if (error)
        return error;
    const char *path = init->executable ? init->executable : args[0];
    execve(path, args, init->environment ? init->environment : none);
    error = -errno;
    if (init->started || init->sync_fd < 0) {
        dprintf(2, "exec %s: %s\n", path, error_text(-error, buffer));
        leave(1);
    }
    snprintf(words, sizeof words, "%s: %s", path, error_text(-error, buffer));
    return failed(init, CALL_EXECVE, error, words);
}
