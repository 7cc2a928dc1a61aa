/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how namespaces are joined and made, and what is set in them. */
#include "init.h"
#include <sched.h>

/* In a user namespace init is its root, so that what it makes is owned by somebody there; where id
 * 0 is not mapped (EINVAL), it stays what it is. */
int become_root(struct init *init) {
    init->in_user_namespace = true;
#ifdef SYS_setresgid32
    int error = answer(syscall(SYS_setresgid32, 0, 0, 0));
#else
    int error = answer(syscall(SYS_setresgid, 0, 0, 0));
#endif
    if (error && error != -EINVAL)
        return failed(init, CALL_SETGID, error, NULL);
#ifdef SYS_setresuid32
    error = answer(syscall(SYS_setresuid32, 0, 0, 0));
#else
    error = answer(syscall(SYS_setresuid, 0, 0, 0));
#endif
    if (error && error != -EINVAL)
        return failed(init, CALL_SETUID, error, NULL);
    return guard_process(init);
}

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
    return op->nstype & CLONE_NEWUSER ? become_root(init) : 0;
}

int op_unshare(struct init *init, const struct shim_op_unshare *op) {
    if (unshare((int)op->flags) < 0)
        return failed(init, CALL_UNSHARE, -errno, NULL);
    return 0;
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
