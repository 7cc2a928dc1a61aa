/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what is trusted of procfs: the runtime's own /proc, opened before anything of the
 * container's is there, and only if it is one.  Nothing is ever written through the container's
 * /proc (CVE-2019-16884, CVE-2025-52881). */
#include "init.h"
#include <limits.h>
#include <sys/vfs.h>

/* The inode of a procfs' root: PROC_ROOT_INO of the kernel. */
#define PROC_ROOT_INODE 1

bool is_on(int fd, unsigned long magic) {
    struct statfs status;
    return fstatfs(fd, &status) == 0 && (unsigned long)status.f_type == magic;
}

/* Without a usable /proc only the operations that need one fail. */
void open_proc(struct init *init) {
    struct stat status;
    init->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (init->proc_fd >= 0 &&
        (!is_on(init->proc_fd, PROC_SUPER_MAGIC) || fstat(init->proc_fd, &status) < 0 ||
         status.st_ino != PROC_ROOT_INODE))
        close_fd(&init->proc_fd);
}

/* Where openat2(2) is missing, what was reached must still be procfs: the handle leads to nothing
 * of the container's, but to mounts of the host below its /proc. */
int open_in_proc(struct init *init, const char *path, int flags, uint64_t restrictions) {
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | restrictions,
    };
    if (init->proc_fd < 0)
        return -ENOENT;
    int fd = -EAGAIN;
    for (int tries = 0; fd == -EAGAIN && tries < 64; tries++)
        fd = kernel_openat2(init->proc_fd, path, &how);
    if (fd == -ENOSYS || fd == -EPERM) {
        fd = resolve_walk(init->proc_fd, path,
                          &(struct wish){.flags = flags, .restrictions = restrictions});
        if (fd >= 0 && !is_on(fd, PROC_SUPER_MAGIC)) {
            close(fd);
            fd = -EXDEV;
        }
    }
    return fd;
}

int write_in_proc(struct init *init, const char *path, const char *words) {
    int fd = open_in_proc(init, path, O_WRONLY, 0);
    if (fd < 0)
        return failed(init, CALL_OPEN, fd, path);
    ssize_t written = write(fd, words, strlen(words));
    int error = written < 0 ? failed(init, CALL_WRITE, -errno, path) : 0;
    close(fd);
    return error;
}

int op_write_sysctl(struct init *init, const struct shim_op_write_sysctl *op) {
    char path[PATH_MAX];
    const char *name = text(init, op->path);
    const char *value = text(init, op->value);
    if (snprintf(path, sizeof path, "sys/%s", name) >= (int)sizeof path)
        return failed(init, CALL_OPEN, -ENAMETOOLONG, NULL);
    int fd = open_in_proc(init, path, O_WRONLY, RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return failed(init, CALL_OPEN, fd, name);
    ssize_t written = write(fd, value, strlen(value));
    int error = written < 0 ? failed(init, CALL_WRITE, -errno, name) : 0;
    close(fd);
    return error;
}
