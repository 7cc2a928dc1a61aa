/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how namespaces are joined and made, and what is set in them. */
#include "init.h"
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Changed credentials undo what protects init, and paths begin at another root. */
static int arrive(struct init *init, uint32_t flags) {
    if (flags & CLONE_NEWNS) {
        close_fd(&init->rootfs_fd);
        init->rootfs_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (init->rootfs_fd < 0)
            return failed(init, CALL_OPEN, -errno, "/");
    }
    if (!(flags & CLONE_NEWUSER))
        return 0;
    init->in_user_namespace = true;
    return guard_process(init);
}

int op_setns(struct init *init, const struct shim_op_setns *op) {
    if (setns(op->fd, (int)op->nstype) < 0)
        return failed(init, CALL_SETNS, -errno, NULL);
    close(op->fd);
    return arrive(init, op->nstype);
}

/* The files of /proc/PID/ns; the user namespace comes last, as with it the runtime's rights go. */
static const struct {
    uint32_t flag;
    const char *name;
} namespaces[] = {
    {CLONE_NEWPID, "pid"},       {CLONE_NEWTIME, "time"}, {CLONE_NEWNET, "net"},
    {CLONE_NEWIPC, "ipc"},       {CLONE_NEWUTS, "uts"},   {CLONE_NEWNS, "mnt"},
    {CLONE_NEWCGROUP, "cgroup"}, {CLONE_NEWUSER, "user"},
};
#define NAMESPACES (sizeof namespaces / sizeof *namespaces)

/* Which of them may be entered before the user namespace and which after depends on who owns them:
 * what is refused is tried again as long as another one has succeeded. */
static int join_one_by_one(struct init *init, int fds[NAMESPACES]) {
    int error = 0, count;
    do {
        error = count = 0;
        for (size_t i = 0; i < NAMESPACES; i++) {
            if (fds[i] < 0)
                continue;
            if (setns(fds[i], (int)namespaces[i].flag) < 0) {
                error = failed(init, CALL_SETNS, -errno, namespaces[i].name);
            } else {
                close_fd(&fds[i]);
                count++;
            }
        }
    } while (error && count > 0);
    return error;
}

/* Before Linux 5.8 setns(2) takes no pidfd.  The number stands for the process only as long as the
 * pidfd has not ended, which is asked after the files are open. */
static int join_by_files(struct init *init, const struct shim_op_join_process *op) {
    int fds[NAMESPACES], error = 0;
    char path[64];
    for (size_t i = 0; i < NAMESPACES; i++) {
        fds[i] = -1;
        if (error || !(op->flags & namespaces[i].flag))
            continue;
        snprintf(path, sizeof path, "%d/ns/%s", op->pid, namespaces[i].name);
        fds[i] = init->proc_fd < 0 ? -1 : openat(init->proc_fd, path, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            error = failed(init, CALL_OPEN, init->proc_fd < 0 ? -ENOENT : -errno, path);
    }
    if (!error && syscall(SYS_pidfd_send_signal, op->pid_fd, 0, NULL, 0) < 0)
        error = failed(init, CALL_SETNS, -errno, NULL);
    if (!error)
        error = join_one_by_one(init, fds);
    for (size_t i = 0; i < NAMESPACES; i++)
        close_fd(&fds[i]);
    return error;
}

int op_join_process(struct init *init, const struct shim_op_join_process *op) {
    int error = answer(setns(op->pid_fd, (int)op->flags));
    if (error == -EINVAL)
        error = join_by_files(init, op);
    else if (error)
        failed(init, CALL_SETNS, error, NULL);
    close(op->pid_fd);
    return error ? error : arrive(init, op->flags);
}

int op_unshare(struct init *init, const struct shim_op_unshare *op) {
    if (unshare((int)op->flags) < 0)
        return failed(init, CALL_UNSHARE, -errno, NULL);
    return 0;
}

/* A process enters a pid namespace by being born there.  CLONE_PARENT: the runtime, not this half,
 * waits for it and is what PR_SET_PDEATHSIG watches.  Where others are in that namespace already,
 * all that is the host's has been left before, /proc as the last, so that there is no instant at
 * which they could find the host through the child, whatever their capabilities. */
int op_respawn(struct init *init, const struct shim_op_respawn *op) {
    int gate[2], pid_fd = -1;
    char byte;
    if (op->options & RESPAWN_CLOSE_PROC)
        close_fd(&init->proc_fd);
    if (pipe2(gate, O_CLOEXEC) < 0)
        return failed(init, CALL_PIPE, -errno, NULL);
    long pid = syscall(SYS_clone, op->flags | CLONE_PARENT | CLONE_PIDFD, 0, &pid_fd, 0, 0);
    if (pid < 0)
        return failed(init, CALL_CLONE, -errno, NULL);
    if (pid > 0)
        leave(send_born(init, (int)pid, pid_fd) < 0);
    /* The runtime hears of it before it hears from it. */
    close(gate[1]);
    while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
        ;
    close(gate[0]);
    if (setsid() < 0)
        return failed(init, CALL_SETSID, -errno, NULL);
    /* The child is as guarded as this half was; execve(2) alone would undo that. */
    return guard_process(init);
}

int op_loopback_up(struct init *init, const struct shim_op_loopback_up *op) {
    struct ifreq request = {.ifr_name = "lo"};
    (void)op;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(init, CALL_SOCKET, -errno, NULL);
    int error = answer(ioctl(fd, SIOCGIFFLAGS, &request));
    request.ifr_flags |= IFF_UP;
    if (!error)
        error = answer(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
    return error ? failed(init, CALL_IOCTL, error, "lo") : 0;
}

int op_set_hostname(struct init *init, const struct shim_op_set_hostname *op) {
    const char *name = text(init, op->name);
    return sethostname(name, strlen(name)) < 0 ? failed(init, CALL_SETHOSTNAME, -errno, name) : 0;
}

int op_set_domainname(struct init *init, const struct shim_op_set_domainname *op) {
    const char *name = text(init, op->name);
    return setdomainname(name, strlen(name)) < 0 ? failed(init, CALL_SETDOMAINNAME, -errno, name)
                                                 : 0;
}
