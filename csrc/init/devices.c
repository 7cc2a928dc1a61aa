/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how directories, device nodes and symbolic links come to be in the rootfs. */
#include "init.h"
#include <limits.h>
#include <sys/sysmacros.h>

int op_make_dir(struct init *init, const struct shim_op_make_dir *op) {
    const char *path = text(init, op->path);
    int fd = resolve(
        init->rootfs_fd, path,
        &(struct wish){.flags = O_PATH | O_DIRECTORY, .missing = MISSING_DIR, .mode = op->mode});
    if (fd < 0)
        return failed(init, CALL_MKDIR, fd, path);
    close(fd);
    return 0;
}

/* chmod(2) of an O_PATH descriptor: fchmodat2 is there since Linux 6.6, before that only procfs
 * leads to it. */
static int change_mode(struct init *init, int fd, mode_t mode) {
    char name[32];
    int error = -ENOSYS;
#ifdef SYS_fchmodat2
    error = answer(syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH));
#endif
    if (error != -ENOSYS || init->proc_fd < 0)
        return error;
    snprintf(name, sizeof name, "self/fd/%d", fd);
    return answer(fchmodat(init->proc_fd, name, mode, 0));
}

/* What was made is opened again and must be that device before its owner and mode are changed: it
 * could have been swapped for a link to, or a hard link of, something else. */
static int finish_node(struct init *init, const struct shim_op_make_node *op, int parent,
                       const char *name, dev_t device) {
    struct stat status;
    const char *path = text(init, op->path);
    int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return failed(init, CALL_OPEN, -errno, path);
    int error = 0;
    if (fstat(fd, &status) < 0)
        error = failed(init, CALL_STAT, -errno, path);
    else if ((status.st_mode & S_IFMT) != (op->mode & S_IFMT) || status.st_rdev != device)
        error = failed(init, CALL_CHECK_DEVICE, -EEXIST, path);
    else if ((status.st_uid != op->uid || status.st_gid != op->gid) &&
             fchownat(fd, "", op->uid, op->gid, AT_EMPTY_PATH) < 0)
        error = failed(init, CALL_CHOWN, -errno, path);
    else if ((status.st_mode ^ op->mode) & 07777 || op->mode & 06000) { /* chown(2) clears these */
        error = change_mode(init, fd, op->mode & 07777);
        if (error)
            failed(init, CALL_CHMOD, error, path);
    }
    close(fd);
    return error;
}

/* In a user namespace mknod(2) is refused: the host's own device is bound, its owner left alone. */
static int bind_node(struct init *init, const struct shim_op_make_node *op, int parent,
                     const char *name, dev_t device) {
    struct stat status;
    const char *source = text(init, op->bind_from);
    int source_fd = open(source, O_PATH | O_CLOEXEC);
    if (source_fd < 0)
        return failed(init, CALL_OPEN, -errno, source);
    int error = 0, target_fd = -1;
    if (fstat(source_fd, &status) < 0)
        error = failed(init, CALL_STAT, -errno, source);
    else if ((status.st_mode & S_IFMT) != (op->mode & S_IFMT) || status.st_rdev != device)
        error = failed(init, CALL_CHECK_DEVICE, -ENODEV, source);
    if (!error) {
        int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
        close_fd(&fd);
        target_fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (target_fd < 0)
            error = failed(init, CALL_OPEN, -errno, text(init, op->path));
        else
            error = bind_fd(init, source_fd, false, target_fd);
    }
    close_fd(&target_fd);
    close(source_fd);
    return error;
}

/* Whatever is there already stays as it is. */
int op_make_node(struct init *init, const struct shim_op_make_node *op) {
    char name[NAME_MAX + 1];
    const char *path = text(init, op->path);
    int kind = op->mode & S_IFMT;
    dev_t device = kind == S_IFIFO ? 0 : makedev(op->major, op->minor);
    int parent = resolve_parent(init->rootfs_fd, path, name);
    if (parent < 0)
        return failed(init, CALL_OPENAT2, parent, path);
    int error = 0;
    if (mknodat(parent, name, op->mode, device) == 0)
        error = finish_node(init, op, parent, name, device);
    else if (errno == EPERM && op->bind_from)
        error = bind_node(init, op, parent, name, device);
    else if (errno != EEXIST)
        error = failed(init, CALL_MKNOD, -errno, path);
    close(parent);
    return error;
}

int op_symlink(struct init *init, const struct shim_op_symlink *op) {
    char name[NAME_MAX + 1];
    const char *path = text(init, op->path);
    int parent = resolve_parent(init->rootfs_fd, path, name);
    if (parent < 0)
        return failed(init, CALL_OPENAT2, parent, path);
    int error = answer(symlinkat(text(init, op->text), parent, name));
    if (error == -EEXIST && op->target_flags & TARGET_SYMLINK_OK) {
        error = 0;
    } else if (error == -EEXIST) {
        if (unlinkat(parent, name, 0) < 0)
            error = failed(init, CALL_UNLINK, -errno, path);
        else
            error = answer(symlinkat(text(init, op->text), parent, name));
    }
    close(parent);
    if (error && error != -EEXIST && init->call == CALL_UNLINK)
        return error;
    return error ? failed(init, CALL_SYMLINK, error, path) : 0;
}
