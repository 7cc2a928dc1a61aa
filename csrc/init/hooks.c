/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how createContainer and startContainer hooks are run (runtime-spec 1.3.0, "POSIX-platform
 * Hooks"): exact arguments and environment, the state document on the standard input, no descriptor
 * but 0, 1, 2. */
#include "init.h"
#include <ctype.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#define OUTPUT_MAX 400            /* of each stream: both go into the detail of one report */
#define HOOK_VERDICT (-ECANCELED) /* nothing that the system has refused */
#define REASON_MAX 900            /* what is told of a hook beside its name and number */
#define POLL_WITHOUT_PIDFD 10     /* ms; pidfd_open(2): Linux 5.3 */

struct run {
    int stdin_fd;
    int out[2][2]; /* pipes of standard output and error */
    int pid;
    int pid_fd;
    int status;
    bool ended;
    int64_t deadline; /* ms of CLOCK_MONOTONIC, 0: none */
    size_t size[2];
    char output[2][OUTPUT_MAX + 1];
};

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* With the name and the number of the hook, which `start` cannot know from a plan. */
static int hook_failed(struct init *init, const struct shim_op_hook *op, int error,
                       const char *reason) {
    char detail[SHIM_DETAIL_MAX];
    snprintf(detail, sizeof detail, "%s hook #%u: %s",
             op->hook == HOOK_CREATE_CONTAINER ? "createContainer" : "startContainer", op->index,
             reason);
    return failed(init, CALL_HOOK, error, detail);
}

/* A memfd, unlike a pipe, needs nobody to feed it, and a hook that does not read costs no EPIPE. */
static int make_stdin(const struct init *init) {
    int fd = kernel_memfd_create("state", 1 /* MFD_CLOEXEC */);
    if (fd < 0)
        return fd;
    for (size_t done = 0; done < init->payload_size;) {
        ssize_t written = write(fd, init->payload + done, init->payload_size - done);
        if (written <= 0) {
            close(fd);
            return written < 0 ? -errno : -EIO;
        }
        done += (size_t)written;
    }
    if (lseek(fd, 0, SEEK_SET) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* In the child of vfork(2), whose memory is ours: nothing but system calls. */
static int become_hook(struct init *init, const struct shim_op_hook *op, const struct run *run,
                       char **args, char **env) {
    const char *path = text(init, op->path);
    if (dup2(run->stdin_fd, 0) < 0 || dup2(run->out[0][1], 1) < 0 || dup2(run->out[1][1], 2) < 0)
        return errno;
    /* As with runc, those of the process are the hook's, but not those of who feeds it. */
    int error = op->hook == HOOK_START_CONTAINER ? apply_rlimits(init) : 0;
    if (error)
        return -error;
    execve(path, args, env);
    return errno;
}

static int start(struct init *init, const struct shim_op_hook *op, struct run *run) {
    volatile int error = 0;
    const char *path = text(init, op->path);
    char **args = make_vector(init, op->args, 1);
    char **env = make_vector(init, op->env, 0);
    if (!args || !env)
        return hook_failed(init, op, -ENOMEM, path);
    if (!args[0])
        args[0] = (char *)(uintptr_t)path;
    run->pid = vfork();
    if (run->pid == 0) {
        error = become_hook(init, op, run, args, env);
        leave(127);
    }
    if (run->pid < 0)
        error = errno;
    free(args);
    free(env);
    if (!error)
        return 0;
    if (run->pid > 0)
        waitpid(run->pid, NULL, 0);
    run->pid = -1;
    return hook_failed(init, op, -error, path);
}

static void drain(struct run *run, int stream) {
    char rest[256];
    size_t room = OUTPUT_MAX - run->size[stream];
    ssize_t size = room ? read(run->out[stream][0], run->output[stream] + run->size[stream], room)
                        : read(run->out[stream][0], rest, sizeof rest);
    if (size == 0)
        close_fd(&run->out[stream][0]);
    else if (size > 0 && room)
        run->size[stream] += (size_t)size;
}

/* 0 once the hook has ended, -ETIMEDOUT. */
static int follow(struct run *run) {
    while (!run->ended) {
        int64_t left = run->deadline ? run->deadline - now() : -1;
        int wait = run->pid_fd < 0 ? POLL_WITHOUT_PIDFD : -1;
        if (run->deadline && left <= 0)
            return -ETIMEDOUT;
        if (run->deadline && (wait < 0 || left < wait))
            wait = (int)(left < INT32_MAX ? left : INT32_MAX);
        struct pollfd fds[3] = {
            {run->pid_fd, POLLIN, 0}, {run->out[0][0], POLLIN, 0}, {run->out[1][0], POLLIN, 0}};
        if (poll(fds, 3, wait) < 0 && errno != EINTR)
            return -errno;
        for (int stream = 0; stream < 2; stream++)
            if (fds[stream + 1].revents)
                drain(run, stream);
        run->ended = waitpid(run->pid, &run->status, WNOHANG) == run->pid;
    }
    return 0;
}

/* What is in the pipes still, without waiting for a descendant that keeps them open. */
static void drain_rest(struct run *run) {
    for (int stream = 0; stream < 2; stream++) {
        struct pollfd fds = {run->out[stream][0], POLLIN, 0};
        while (run->out[stream][0] >= 0 && run->size[stream] < OUTPUT_MAX && poll(&fds, 1, 0) > 0 &&
               fds.revents)
            drain(run, stream);
        run->output[stream][run->size[stream]] = '\0';
    }
}

/* "signal: bad system call", as Go has it and those who read runc's errors. */
static void name_signal(char *end, size_t size, int number) {
    snprintf(end, size, "signal: %s", strsignal(number));
    char *first = end + strlen("signal: ");
    *first = (char)tolower((unsigned char)*first);
}

/* In the words that runc has for it. */
static int judge(struct init *init, const struct shim_op_hook *op, struct run *run, int error) {
    char reason[REASON_MAX], end[64];
    if (error == -ETIMEDOUT) {
        snprintf(reason, sizeof reason, "hook ran past specified timeout of %d.0s", op->timeout);
        return hook_failed(init, op, HOOK_VERDICT, reason);
    }
    if (error)
        return failed(init, CALL_WAIT, error, text(init, op->path));
    if (WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0)
        return 0;
    if (WIFEXITED(run->status))
        snprintf(end, sizeof end, "exit status %d", WEXITSTATUS(run->status));
    else
        name_signal(end, sizeof end, WTERMSIG(run->status));
    snprintf(reason, sizeof reason, "%s, stdout: %s, stderr: %s", end, run->output[0],
             run->output[1]);
    return hook_failed(init, op, HOOK_VERDICT, reason);
}

/* A file of the runtime's, which other hooks write to as well, or a pipe to be read here. */
static int make_output(int out[2], int fd) {
    if (fd < 0)
        return pipe2(out, O_CLOEXEC);
    out[1] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return out[1];
}

static int run_hook(struct init *init, const struct shim_op_hook *op, struct run *run) {
    run->stdin_fd = make_stdin(init);
    if (run->stdin_fd < 0)
        return failed(init, CALL_MEMFD, run->stdin_fd, NULL);
    for (int i = 0; i < 2; i++)
        if (make_output(run->out[i], op->output_fd[i]) < 0)
            return hook_failed(init, op, -errno, "output");
    if (op->timeout > 0)
        run->deadline = now() + (int64_t)op->timeout * 1000;
    int error = start(init, op, run);
    if (error)
        return error;
    close_fd(&run->out[0][1]);
    close_fd(&run->out[1][1]);
    run->pid_fd = kernel_pidfd_open(run->pid);
    error = follow(run);
    if (!run->ended) {
        kill(run->pid, SIGKILL);
        waitpid(run->pid, &run->status, 0);
    }
    drain_rest(run);
    return judge(init, op, run, error);
}

/* createContainer hooks have the rootfs as their working directory, since it is not "/" yet. */
int op_hook(struct init *init, const struct shim_op_hook *op) {
    struct run run;
    memset(&run, 0, sizeof run);
    run.stdin_fd = run.pid = run.pid_fd = -1;
    for (int i = 0; i < 2; i++)
        run.out[i][0] = run.out[i][1] = -1;
    if (op->hook == HOOK_CREATE_CONTAINER && init->rootfs_fd >= 0 && fchdir(init->rootfs_fd) < 0)
        return failed(init, CALL_CHDIR, -errno, NULL);
    int error = run_hook(init, op, &run);
    close_fd(&run.stdin_fd);
    close_fd(&run.pid_fd);
    for (int i = 0; i < 2; i++) {
        close_fd(&run.out[i][0]);
        close_fd(&run.out[i][1]);
    }
    return error;
}
