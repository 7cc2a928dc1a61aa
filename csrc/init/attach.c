/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how a mount gets to its place: from descriptor to descriptor, and verified from the
 * rootfs after. mount(2) serves where the newer calls are not to be had (before Linux 5.2;
 * mount_setattr(2): 5.12). */
#include "init.h"
#include <sys/statvfs.h>
#include <sys/vfs.h>

static const struct {
    uint64_t attribute;
    unsigned long flag;
    unsigned long status; /* ST_* of statfs(2) */
    const char *name;
} attribute_table[] = {
    {MOUNT_ATTR_RDONLY, MS_RDONLY, ST_RDONLY, "ro"},
    {MOUNT_ATTR_NOSUID, MS_NOSUID, ST_NOSUID, "nosuid"},
    {MOUNT_ATTR_NODEV, MS_NODEV, 4, "nodev"},
    {MOUNT_ATTR_NOEXEC, MS_NOEXEC, 8, "noexec"},
    {MOUNT_ATTR_NOATIME, MS_NOATIME, 1024, "noatime"},
    {MOUNT_ATTR_STRICTATIME, MS_STRICTATIME, 0, "strictatime"},
    {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME, 2048, "nodiratime"},
    {MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW, 8192, "nosymfollow"},
};

unsigned long mount_flags(uint64_t attributes) {
    unsigned long flags = 0;
    for (size_t i = 0; i < sizeof attribute_table / sizeof *attribute_table; i++)
        if (attributes & attribute_table[i].attribute)
            flags |= attribute_table[i].flag;
    return flags;
}

/* The attributes that the mount has, as far as statfs(2) tells. */
int read_attributes(int fd, uint64_t *attributes) {
    struct statfs status;
    if (fstatfs(fd, &status) < 0)
        return -errno;
    *attributes = 0;
    for (size_t i = 0; i < sizeof attribute_table / sizeof *attribute_table; i++)
        if ((unsigned long)status.f_flags & attribute_table[i].status)
            *attributes |= attribute_table[i].attribute;
    return 0;
}

/* Opens where a mount shall go.  target->fd is -1 where TARGET_NO_CREATE and nothing is there. */
int open_target(struct init *init, const char *path, uint32_t flags, enum missing missing,
                struct target *target) {
    struct wish wish = {
        .flags = O_PATH | (flags & TARGET_REAL_DIR ? O_DIRECTORY : 0) |
                 (flags & TARGET_NOFOLLOW ? O_NOFOLLOW : 0),
        .restrictions = flags & TARGET_REAL_DIR ? RESOLVE_NO_SYMLINKS : 0,
        .missing = flags & TARGET_NO_CREATE ? MISSING_IS_ERROR : missing,
        .mode = missing == MISSING_FILE ? 0644 : 0755,
        .created = &target->created,
    };
    target->created = false;
    target->nofollow = flags & TARGET_NOFOLLOW;
    target->fd = resolve(init->rootfs_fd, path, &wish);
    if (target->fd >= 0)
        return 0;
    int error = target->fd;
    target->fd = -1;
    if (error == -ENOENT && flags & TARGET_NO_CREATE)
        return 0;
    if (flags & TARGET_REAL_DIR && (error == -ELOOP || error == -ENOTDIR))
        return failed(init, CALL_CHECK_SYMLINK, error, path);
    return failed(init, CALL_OPENAT2, error, path);
}

/* Between opening the target and mounting, whoever shares the file system could have moved it: the
 * path must now lead to the very mount. */
static int verify(struct init *init, int mount_fd, bool nofollow, const char *path) {
    struct stat wanted, found;
    int fd = resolve(init->rootfs_fd, path,
                     &(struct wish){.flags = O_PATH | (nofollow ? O_NOFOLLOW : 0)});
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    bool same = fstat(mount_fd, &wanted) == 0 && fstat(fd, &found) == 0 &&
                wanted.st_dev == found.st_dev && wanted.st_ino == found.st_ino &&
                mount_id(mount_fd) == mount_id(fd);
    close(fd);
    return same ? 0 : failed(init, CALL_MOVE_MOUNT, -EXDEV, path);
}

int attach(struct init *init, int mount_fd, const struct target *target, const char *path) {
    int error = kernel_move_mount(mount_fd, target->fd);
    if (error)
        return failed(init, CALL_MOVE_MOUNT, error, path);
    return verify(init, mount_fd, target->nofollow, path);
}

/* mount(2) onto a descriptor: by the trusted procfs as working directory, since the path of a mount
 * point cannot be given otherwise; a directory can do without. */
int mount_on(struct init *init, const char *source, int target_fd, const char *type,
             unsigned long flags, const char *data) {
    char name[32] = ".";
    int cwd_fd = target_fd;
    if (init->proc_fd >= 0) {
        cwd_fd = init->proc_fd;
        snprintf(name, sizeof name, "self/fd/%d", target_fd);
    }
    if (fchdir(cwd_fd) < 0)
        return failed(init, CALL_CHDIR, -errno, NULL);
    int error = answer(mount(source, name, type, flags, data));
    if (chdir("/") < 0)
        return failed(init, CALL_CHDIR, -errno, "/");
    return error ? failed(init, CALL_MOUNT, error, type) : 0;
}

/* By the same two ways as mount_on(); a directory that is no mount's root is not taken for one,
 * since its mount would be detached. */
int op_unmount(struct init *init, const struct shim_op_unmount *op) {
    const char *path = text(init, op->target);
    char name[32] = ".";
    int fd = resolve(init->rootfs_fd, path, &(struct wish){.flags = O_PATH});
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    int cwd_fd = init->proc_fd >= 0 ? init->proc_fd : fd;
    if (init->proc_fd >= 0)
        snprintf(name, sizeof name, "self/fd/%d", fd);
    int error = 0;
    if (!is_mount_root(fd))
        error = failed(init, CALL_UMOUNT, -EINVAL, path);
    else if (fchdir(cwd_fd) < 0)
        error = failed(init, CALL_CHDIR, -errno, path);
    else if (umount2(name, MNT_DETACH) < 0)
        error = failed(init, CALL_UMOUNT, -errno, path);
    close(fd);
    return error;
}

/* Attaches a copy of the mount at `source_fd` over `target_fd`. */
int bind_fd(struct init *init, int source_fd, bool recursive, int target_fd) {
    unsigned flags = recursive ? AT_RECURSIVE : 0;
    int fd = kernel_open_tree(source_fd, "",
                              AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
    if (fd == -ENOSYS) {
        char source[32];
        snprintf(source, sizeof source, "self/fd/%d", source_fd);
        return mount_on(init, source, target_fd, NULL, MS_BIND | (recursive ? MS_REC : 0), NULL);
    }
    if (fd < 0)
        return failed(init, CALL_OPEN_TREE, fd, NULL);
    int error = kernel_move_mount(fd, target_fd);
    close(fd);
    return error ? failed(init, CALL_MOVE_MOUNT, error, NULL) : 0;
}

/* A mount that came from a namespace with more rights keeps what restricts it
 * (mount_namespaces(7)): which of the flags that were to go are there still. */
static int refused(struct init *init, int fd, uint64_t clear) {
    char names[SHIM_DETAIL_MAX] = "";
    char *end = names;
    uint64_t there;
    if (read_attributes(fd, &there))
        return failed(init, CALL_MOUNT_SETATTR, -EPERM, NULL);
    for (size_t i = 0; i < sizeof attribute_table / sizeof *attribute_table; i++) {
        if (!(there & clear & attribute_table[i].attribute))
            continue;
        if (end != names)
            end = stpcpy(end, ",");
        end = stpcpy(end, attribute_table[i].name);
    }
    return failed(init, end == names ? CALL_MOUNT_SETATTR : CALL_CHECK_LOCKED, -EPERM, names);
}

/* Changes attributes of the mount that `fd` is the root of, keeping all others. */
int set_attributes(struct init *init, int fd, bool recursive, uint64_t set, uint64_t clear) {
    uint64_t kept = 0;
    /* An atime mode is a value, not a bit: the kernel refuses to set one without clearing the old.
     */
    if (set & MOUNT_ATTR__ATIME)
        clear |= MOUNT_ATTR__ATIME;
    struct mount_attr attr = {.attr_set = set, .attr_clr = clear};
    if (!set && !clear)
        return 0;
    int error = kernel_mount_setattr(fd, recursive ? AT_RECURSIVE : 0, &attr);
    if (error == -ENOSYS && !recursive) {
        error = read_attributes(fd, &kept);
        if (error)
            return failed(init, CALL_STATFS, error, NULL);
        return mount_on(init, NULL, fd, NULL,
                        MS_REMOUNT | MS_BIND | mount_flags((kept & ~clear) | set), NULL);
    }
    if (error == -EPERM && clear)
        return refused(init, fd, clear);
    return error ? failed(init, CALL_MOUNT_SETATTR, error, NULL) : 0;
}
