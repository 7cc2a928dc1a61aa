/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how existing mounts are shown again, changed, covered and made read-only. */
#include "init.h"
#include <limits.h>
#include <sys/sysmacros.h>

static int kind_of(int fd, enum missing *missing) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    *missing = S_ISDIR(status.st_mode) ? MISSING_DIR : MISSING_FILE;
    return 0;
}

/* The target of a bind mount, or target->fd -1 to skip it. */
static int open_bind_target(struct init *init, const struct shim_op_bind *op, int source_fd,
                            struct target *target) {
    enum missing missing;
    const char *path = text(init, op->target);
    target->fd = -1;
    int error = kind_of(source_fd, &missing);
    if (error)
        return failed(init, CALL_STAT, error, text(init, op->source));
    if (op->flags & BIND_SOURCE_PROC && !is_on(source_fd, PROC_SUPER_MAGIC))
        return failed(init, CALL_CHECK_PROC, -EINVAL, text(init, op->source));
    error = open_target(init, path, op->target_flags, missing, target);
    if (error || target->fd < 0)
        return error;
    target->nofollow |= op->flags & BIND_SOURCE_NOFOLLOW;
    if (!(op->target_flags & TARGET_ALLOW_PROC) && !(op->flags & BIND_SOURCE_PROC) &&
        is_on(target->fd, PROC_SUPER_MAGIC)) {
        close_fd(&target->fd);
        return failed(init, CALL_CHECK_PROC, -EPERM, path);
    }
    return 0;
}

static int set_bind_attributes(struct init *init, const struct shim_op_bind *op, int fd) {
    int error = set_attributes(init, fd, true, op->rec_set, op->rec_clr);
    return error ? error : set_attributes(init, fd, false, op->attr_set, op->attr_clr);
}

/* Before Linux 5.2, or 5.12 where attributes are asked for: in two passes. */
static int bind_classically(struct init *init, const struct shim_op_bind *op, int source_fd) {
    struct target target;
    const char *path = text(init, op->target);
    if (op->rec_set || op->rec_clr)
        return failed(init, CALL_MOUNT_SETATTR, -ENOSYS, path);
    int error = open_bind_target(init, op, source_fd, &target);
    if (error || target.fd < 0)
        return error;
    error = mount_on(init, text(init, op->source), target.fd, NULL,
                     MS_BIND | (op->flags & BIND_RECURSIVE ? MS_REC : 0), NULL);
    close(target.fd);
    if (error)
        return error;
    int fd = resolve_path(init->rootfs_fd, path);
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    error = set_attributes(init, fd, false, op->attr_set, op->attr_clr);
    close(fd);
    return error;
}

/* Where the container's root may not go, the runtime's may: the source is the host's.  EINVAL, too:
 * mounts below it are locked in a user namespace's copy (mount_namespaces(7)). */
static int open_source_tree(struct init *init, const struct shim_op_bind *op) {
    if (op->flags & BIND_BY_RUNTIME)
        return request_source(init);
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    if (op->flags & BIND_RECURSIVE)
        flags |= AT_RECURSIVE;
    if (op->flags & BIND_SOURCE_NOFOLLOW)
        flags |= AT_SYMLINK_NOFOLLOW;
    int fd = kernel_open_tree(AT_FDCWD, text(init, op->source), flags);
    bool refused = fd == -EACCES || (fd == -EINVAL && !(op->flags & BIND_RECURSIVE));
    return refused && init->in_user_namespace ? request_source(init) : fd;
}

static int open_source(struct init *init, const struct shim_op_bind *op, bool *classical) {
    const char *source = text(init, op->source);
    int fd = open_source_tree(init, op);
    *classical = false;
    if (fd >= 0 && (op->attr_set || op->attr_clr || op->rec_set || op->rec_clr)) {
        int error = set_bind_attributes(init, op, fd);
        if (error)
            close_fd(&fd);
        /* A detached mount cannot be remounted: the fallback of set_attributes() gave EINVAL. */
        *classical = error && init->call == CALL_MOUNT;
        if (error && !*classical)
            return error;
    }
    if (fd == -ENOSYS || *classical) {
        *classical = true;
        fd = answer(
            open(source, O_PATH | O_CLOEXEC | (op->flags & BIND_SOURCE_NOFOLLOW ? O_NOFOLLOW : 0)));
    }
    return fd < 0 ? failed(init, CALL_OPEN_TREE, fd, source) : fd;
}

/* Makes the symbolic link `source` again at the target: 1, or 0 where the source is none. */
static int copy_symlink(struct init *init, const struct shim_op_bind *op) {
    char name[NAME_MAX + 1], words[PATH_MAX], there[PATH_MAX];
    const char *path = text(init, op->target);
    ssize_t size = readlink(text(init, op->source), words, sizeof words - 1);
    if (size < 0)
        return 0;
    words[size] = '\0';
    int parent = resolve_parent(init->rootfs_fd, path, name);
    if (parent < 0)
        return failed(init, CALL_OPENAT2, parent, path);
    int error = answer(symlinkat(words, parent, name));
    if (error == -EEXIST) {
        ssize_t length = readlinkat(parent, name, there, sizeof there);
        if (length == size && memcmp(there, words, (size_t)size) == 0)
            error = 0;
    }
    close(parent);
    return error ? failed(init, CALL_SYMLINK, error, path) : 1;
}

int op_bind(struct init *init, const struct shim_op_bind *op) {
    bool classical;
    struct target target;
    int copied = op->flags & BIND_COPY_SYMLINK ? copy_symlink(init, op) : 0;
    if (copied)
        return copied < 0 ? copied : 0;
    int fd = open_source(init, op, &classical);
    if (fd == -ENOENT && op->flags & BIND_OPTIONAL)
        return 0;
    if (fd < 0)
        return fd;
    int error;
    if (classical) {
        error = bind_classically(init, op, fd);
    } else {
        error = open_bind_target(init, op, fd, &target);
        if (!error && target.fd >= 0) {
            error = attach(init, fd, &target, text(init, op->target));
            close(target.fd);
        }
    }
    close(fd);
    return error;
}

int op_propagation(struct init *init, const struct shim_op_propagation *op) {
    const char *path = text(init, op->target);
    struct mount_attr attr = {.propagation = op->flags & ~(uint32_t)MS_REC};
    int fd = resolve_path(init->rootfs_fd, path);
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    int error = kernel_mount_setattr(fd, op->flags & MS_REC ? AT_RECURSIVE : 0, &attr);
    if (error == -ENOSYS)
        error = mount_on(init, NULL, fd, NULL, op->flags, NULL);
    else if (error)
        failed(init, CALL_MOUNT_SETATTR, error, path);
    close(fd);
    return error;
}

int op_set_mount_attr(struct init *init, const struct shim_op_set_mount_attr *op) {
    const char *path = text(init, op->target);
    int fd = resolve_path(init->rootfs_fd, path);
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    int error = set_attributes(init, fd, op->recursive, op->attr_set, op->attr_clr);
    close(fd);
    return error;
}

static bool is_absent(int error) { return error == -ENOENT || error == -ENOTDIR; }

/* The container's /dev/null serves only if it is the null device: something else there would show
 * through every masked file, or stay unmasked (CVE-2025-31133). */
int open_null(struct init *init) {
    struct stat status;
    int fd = resolve_path(init->rootfs_fd, "/dev/null");
    if (fd < 0)
        return failed(init, CALL_CHECK_DEVICE, fd, "container's /dev/null is invalid");
    if (fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) {
        close(fd);
        return failed(init, CALL_CHECK_DEVICE, -ENODEV, "container's /dev/null is invalid");
    }
    init->null_fd = fd;
    return 0;
}

/* Mounts the empty tmpfs over the first masked directory; the others get copies of it, since a copy
 * can be made of an attached mount only (before Linux 6.15). */
static int mask_first_dir(struct init *init, const char *label, int target_fd) {
    char option[SHIM_DETAIL_MAX];
    int fs_fd = kernel_fsopen("tmpfs");
    if (fs_fd == -ENOSYS) {
        snprintf(option, sizeof option, "nr_blocks=1,nr_inodes=1%s%s%s", label ? ",context=\"" : "",
                 label ? label : "", label ? "\"" : "");
        return mount_on(init, "tmpfs", target_fd, "tmpfs",
                        MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, option);
    }
    if (fs_fd < 0)
        return failed(init, CALL_FSOPEN, fs_fd, "tmpfs");
    int error = kernel_fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", "tmpfs");
    if (!error)
        error = kernel_fsconfig(fs_fd, FSCONFIG_SET_STRING, "nr_blocks", "1");
    if (!error)
        error = kernel_fsconfig(fs_fd, FSCONFIG_SET_STRING, "nr_inodes", "1");
    if (!error)
        error = kernel_fsconfig(fs_fd, FSCONFIG_SET_FLAG, "ro", NULL);
    if (!error && label)
        error = kernel_fsconfig(fs_fd, FSCONFIG_SET_STRING, "context", label);
    if (!error)
        error = kernel_fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL);
    if (error)
        failed(init, CALL_FSCONFIG, error, "tmpfs");
    int fd = error ? error
                   : kernel_fsmount(fs_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                               MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    close(fs_fd);
    if (fd < 0)
        return error ? error : failed(init, CALL_FSMOUNT, fd, "tmpfs");
    error = kernel_move_mount(fd, target_fd);
    if (error) {
        close(fd);
        return failed(init, CALL_MOVE_MOUNT, error, NULL);
    }
    init->mask_fd = fd;
    return 0;
}

static int mask_dir(struct init *init, const char *label, int target_fd) {
    if (init->mask_fd < 0)
        return mask_first_dir(init, label, target_fd);
    return bind_fd(init, init->mask_fd, false, target_fd);
}

int op_mask(struct init *init, const struct shim_op_mask *op) {
    enum missing missing;
    const char *path = text(init, op->path);
    int fd = resolve_path(init->rootfs_fd, path);
    if (is_absent(fd) || fd == -EACCES)
        return 0;
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    int error = kind_of(fd, &missing);
    if (error)
        failed(init, CALL_STAT, error, path);
    else if (missing == MISSING_DIR)
        error = mask_dir(init, text_or_null(init, op->label), fd);
    else if (init->null_fd < 0)
        error = open_null(init);
    if (!error && missing == MISSING_FILE)
        error = bind_fd(init, init->null_fd, false, fd);
    close(fd);
    return error;
}

int op_readonly(struct init *init, const struct shim_op_readonly *op) {
    const char *path = text(init, op->path);
    int fd = resolve_path(init->rootfs_fd, path);
    if (is_absent(fd))
        return 0;
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    int error = bind_fd(init, fd, true, fd);
    close(fd);
    if (error)
        return error;
    fd = resolve_path(init->rootfs_fd, path);
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    error = set_attributes(init, fd, false, MOUNT_ATTR_RDONLY, 0);
    close(fd);
    return error;
}
