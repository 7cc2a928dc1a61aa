/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how namespaces are joined and made, and what is set in them. */
#include "init.h"
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int op_setns(struct init *init, const struct shim_op_setns *op) {
    if (setns(op->fd, (int)op->nstype) < 0)
        return failed(init, CALL_SETNS, -errno, NULL);
    close(op->fd);
    if (op->nstype & CLONE_NEWNS) {
        close_fd(&init->rootfs_fd);
        init->rootfs_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (init->rootfs_fd < 0)
            return failed(init, CALL_OPEN, -errno, "/");
    }
    if (!(op->nstype & CLONE_NEWUSER))
        return 0;
    init->in_user_namespace = true;
    return guard_process(init);
}

int op_unshare(struct init *init, const struct shim_op_unshare *op) {
    if (unshare((int)op->flags) < 0)
        return failed(init, CALL_UNSHARE, -errno, NULL);
    return 0;
}

/* CLONE_PARENT: the runtime, not this half, waits for it and is what PR_SET_PDEATHSIG watches.  The
 * child stays as guarded as this half is; execve(2) alone would undo that. */
int op_respawn(struct init *init, const struct shim_op_respawn *op) {
    long pid = syscall(SYS_clone, op->flags | CLONE_PARENT, NULL, NULL, NULL, NULL);
    if (pid < 0)
        return failed(init, CALL_CLONE, -errno, NULL);
    if (pid > 0) {
        send_born(init, (int)pid);
        _exit(0);
    }
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
