/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how the rootfs is held, and how it becomes "/". */
#include "init.h"
#include <linux/magic.h>

int op_host_propagation(struct init *init, const struct shim_op_host_propagation *op) {
    if (mount(NULL, "/", NULL, (unsigned long)op->flags, NULL) < 0)
        return failed(init, CALL_MOUNT, -errno, "/");
    return 0;
}

static int make_slave(int fd) {
    struct mount_attr attr = {.propagation = MS_SLAVE};
    int error = kernel_mount_setattr(fd, 0, &attr);
    if (error != -ENOSYS)
        return error;
    if (fchdir(fd) < 0)
        return -errno;
    error = answer(mount(NULL, ".", NULL, MS_SLAVE, NULL));
    return chdir("/") < 0 ? -errno : error;
}

/* pivot_root(2) refuses a new root whose parent mount is shared, and a mount on a shared one would
 * come to be on the host too.  Which directory is that mount's root is found by trying upwards:
 * EINVAL says that it is not.  MS_SLAVE, unlike MS_PRIVATE, changes nothing of a mount that is not
 * shared. */
static int unshare_parent(struct init *init, int rootfs_fd) {
    struct stat here, above;
    int fd = fcntl(rootfs_fd, F_DUPFD_CLOEXEC, 3);
    int error = fd < 0 ? -errno : make_slave(fd);
    while (error == -EINVAL) {
        int parent = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0 || fstat(fd, &here) < 0 || fstat(parent, &above) < 0) {
            error = -errno;
            close_fd(&parent);
            break;
        }
        close(fd);
        fd = parent;
        if (here.st_dev == above.st_dev && here.st_ino == above.st_ino)
            break;
        error = make_slave(fd);
    }
    close_fd(&fd);
    return error ? failed(init, CALL_MOUNT_SETATTR, error, NULL) : 0;
}

/* Makes the rootfs a mount of its own; its descriptor. */
static int bind_rootfs(struct init *init, const char *path) {
    int fd = kernel_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (fd == -ENOSYS) {
        if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
            return failed(init, CALL_MOUNT, -errno, path);
        fd = answer(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
        return fd < 0 ? failed(init, CALL_OPEN, fd, path) : fd;
    }
    if (fd < 0)
        return failed(init, CALL_OPEN_TREE, fd, path);
    if (syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
        int error = -errno;
        close(fd);
        return failed(init, CALL_MOVE_MOUNT, error, path);
    }
    return fd;
}

int op_open_rootfs(struct init *init, const struct shim_op_open_rootfs *op) {
    const char *path = text(init, op->path);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(init, CALL_OPEN, -errno, path);
    int error = op->flags & ROOTFS_PARENT_PRIVATE ? unshare_parent(init, fd) : 0;
    if (!error && op->flags & ROOTFS_BIND) {
        close(fd);
        fd = bind_rootfs(init, path);
        error = fd < 0 ? fd : 0;
    }
    if (error) {
        close_fd(&fd);
        return error;
    }
    close_fd(&init->rootfs_fd);
    init->rootfs_fd = fd;
    return 0;
}

/* The old root comes to lie under the new one and is let go; as a slave first, so that its going is
 * not told to the host. */
static int pivot(struct init *init) {
    int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old < 0)
        return failed(init, CALL_OPEN, -errno, "/");
    int error = 0;
    if (fchdir(init->rootfs_fd) < 0)
        error = failed(init, CALL_CHDIR, -errno, NULL);
    else if (syscall(SYS_pivot_root, ".", ".") < 0)
        error = failed(init, CALL_PIVOT_ROOT, -errno, NULL);
    else if (fchdir(old) < 0)
        error = failed(init, CALL_CHDIR, -errno, NULL);
    else if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        error = failed(init, CALL_MOUNT, -errno, "/");
    else if (umount2(".", MNT_DETACH) < 0)
        error = failed(init, CALL_UMOUNT, -errno, "/");
    close(old);
    return error;
}

/* Without pivot_root(2), the host's mounts stay below the new root: a fresh procfs or sysfs could
 * be mounted there uncovered if the full ones of the host stayed visible.  What is outside of the
 * rootfs is unmounted, or covered where that is refused. */
static void drop_visible(const char *path, unsigned long magic) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool there = fd >= 0 && is_on(fd, magic);
    close_fd(&fd);
    if (there && umount2(path, MNT_DETACH) < 0)
        (void)mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1");
}

static int move_root(struct init *init) {
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return failed(init, CALL_MOUNT, -errno, "/");
    drop_visible("/proc", PROC_SUPER_MAGIC);
    drop_visible("/sys", SYSFS_MAGIC);
    if (fchdir(init->rootfs_fd) < 0)
        return failed(init, CALL_CHDIR, -errno, NULL);
    if (mount(".", "/", NULL, MS_MOVE, NULL) < 0)
        return failed(init, CALL_MOUNT, -errno, "/");
    return chroot(".") < 0 ? failed(init, CALL_CHROOT, -errno, NULL) : 0;
}

static int change_root(struct init *init) {
    if (fchdir(init->rootfs_fd) < 0)
        return failed(init, CALL_CHDIR, -errno, NULL);
    return chroot(".") < 0 ? failed(init, CALL_CHROOT, -errno, NULL) : 0;
}

int op_pivot_root(struct init *init, const struct shim_op_pivot_root *op) {
    int error = op->how == PIVOT_ROOT   ? pivot(init)
                : op->how == PIVOT_MOVE ? move_root(init)
                                        : change_root(init);
    if (error)
        return error;
    if (chdir("/") < 0)
        return failed(init, CALL_CHDIR, -errno, "/");
    close_fd(&init->rootfs_fd);
    init->rootfs_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return init->rootfs_fd < 0 ? failed(init, CALL_OPEN, -errno, "/") : 0;
}
