/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how a file system comes into being and gets to its place in the rootfs. */
#include "init.h"

/* fsconfig(2) takes strings of at most 255 bytes. */
#define VALUE_MAX 255

struct superblock_flag {
    unsigned long flag;
    const char *key;
};

static const struct superblock_flag superblock_flags[] = {
    {MS_RDONLY, "ro"},     {MS_SYNCHRONOUS, "sync"},  {MS_DIRSYNC, "dirsync"},
    {MS_MANDLOCK, "mand"}, {MS_LAZYTIME, "lazytime"},
};

#define KNOWN_FLAGS                                                                                \
    ((uint64_t)(MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_LAZYTIME | MS_SILENT))

struct request {
    const struct shim_op_mount *op;
    const char *mode;    /* "mode=...", or NULL */
    uint64_t attributes; /* at first; read-only comes later where the content is copied */
};

/* What the kernel says about a failure, without its letter and the line's end, is the best detail.
 */
static int fs_failed(struct init *init, uint32_t call, int error, int fs_fd, const char *detail) {
    char message[256];
    ssize_t size = read(fs_fd, message, sizeof message - 1);
    if (size > 2) {
        message[size] = '\0';
        message[strcspn(message, "\n")] = '\0';
        detail = message[1] == ' ' ? message + 2 : message;
    }
    return failed(init, call, error, detail);
}

static int set_option(struct init *init, int fs_fd, const char *option) {
    char key[VALUE_MAX + 1];
    size_t length = strcspn(option, "=");
    if (length > VALUE_MAX)
        return failed(init, CALL_FSCONFIG, -EINVAL, option);
    memcpy(key, option, length);
    key[length] = '\0';
    bool valued = option[length] == '=';
    int error = kernel_fsconfig(fs_fd, valued ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key,
                                valued ? option + length + 1 : NULL);
    return error ? fs_failed(init, CALL_FSCONFIG, error, fs_fd, option) : 0;
}

/* What mountinfo shows as source. A path to bind from is the host's, which the container, in a
 * cgroup namespace for one, need not learn. */
static const char *shown_source(const struct init *init, const struct shim_op_mount *op) {
    bool shown = op->source && !(op->flags & MOUNT_FALL_BACK_TO_BIND);
    return text(init, shown ? op->source : op->fstype);
}

static int configure(struct init *init, const struct request *request, int fs_fd,
                     unsigned command) {
    const struct shim_op_mount *op = request->op;
    const char *option = (const char *)init->plan + op->data.offset;
    int error = 0;
    if (op->source && command == FSCONFIG_CMD_CREATE) {
        error = kernel_fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", shown_source(init, op));
        if (error)
            return fs_failed(init, CALL_FSCONFIG, error, fs_fd, "source");
    }
    for (size_t i = 0; !error && i < sizeof superblock_flags / sizeof *superblock_flags; i++)
        if (op->sb_flags & superblock_flags[i].flag)
            error = set_option(init, fs_fd, superblock_flags[i].key);
    if (!error && request->mode)
        error = set_option(init, fs_fd, request->mode);
    for (uint32_t i = 0; !error && i < op->data.count; i++, option += strlen(option) + 1)
        if (*option)
            error = set_option(init, fs_fd, option);
    if (error)
        return error;
    error = kernel_fsconfig(fs_fd, command, NULL, NULL);
    return error ? fs_failed(init, CALL_FSCONFIG, error, fs_fd, text(init, op->fstype)) : 0;
}

/* Whether only mount(2) can take the options: long values, and several options in one string, which
 * runc's users write and the kernel splits there. */
static bool needs_mount(const struct init *init, const struct shim_op_mount *op) {
    const char *option = (const char *)init->plan + op->data.offset;
    for (uint32_t i = 0; i < op->data.count; i++, option += strlen(option) + 1)
        if (strlen(option) > VALUE_MAX || strchr(option, ','))
            return true;
    return op->sb_flags & ~KNOWN_FLAGS ||
           (op->source && strlen(text(init, op->source)) > VALUE_MAX);
}

/* A detached mount of the file system; -ENOSYS: only mount(2) can. */
static int make_mount(struct init *init, const struct request *request) {
    const char *type = text(init, request->op->fstype);
    if (needs_mount(init, request->op))
        return -ENOSYS;
    int fs_fd = kernel_fsopen(type);
    if (fs_fd == -ENOSYS)
        return fs_fd;
    if (fs_fd < 0)
        return failed(init, CALL_FSOPEN, fs_fd, type);
    int result = configure(init, request, fs_fd, FSCONFIG_CMD_CREATE);
    if (!result) {
        result = kernel_fsmount(fs_fd, (unsigned)request->attributes);
        if (result < 0)
            fs_failed(init, CALL_FSMOUNT, result, fs_fd, type);
    }
    close(fs_fd);
    return result == -ENOSYS ? -EINVAL : result;
}

/* The options as mount(2) wants them, malloc'ed. */
static char *join_options(const struct init *init, const struct request *request) {
    const char *option = (const char *)init->plan + request->op->data.offset;
    size_t size = request->mode ? strlen(request->mode) + 2 : 1;
    for (uint32_t i = 0; i < request->op->data.count; i++, option += strlen(option) + 1)
        size += strlen(option) + 1;
    char *joined = malloc(size);
    if (!joined)
        return NULL;
    char *end = stpcpy(joined, request->mode ? request->mode : "");
    option = (const char *)init->plan + request->op->data.offset;
    for (uint32_t i = 0; i < request->op->data.count; i++, option += strlen(option) + 1) {
        if (end != joined && *option)
            *end++ = ',';
        end = stpcpy(end, option);
    }
    return joined;
}

/* Mounts over target->fd by mount(2) and gives the new root, reached from the rootfs. */
static int mount_classically(struct init *init, const struct request *request,
                             const struct target *target) {
    const struct shim_op_mount *op = request->op;
    const char *type = text(init, op->fstype);
    const char *path = text(init, op->target);
    struct stat below, found;
    char *options = join_options(init, request);
    if (!options)
        return failed(init, CALL_MOUNT, -ENOMEM, type);
    int error = mount_on(init, shown_source(init, op), target->fd, type,
                         mount_flags(request->attributes) | (unsigned long)op->sb_flags, options);
    free(options);
    if (error)
        return error;
    int fd = resolve_path(init->rootfs_fd, path);
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    if (fstat(target->fd, &below) < 0 || fstat(fd, &found) < 0 ||
        (below.st_dev == found.st_dev && mount_id(target->fd) == mount_id(fd))) {
        close(fd);
        return failed(init, CALL_MOUNT, -EXDEV, path);
    }
    return fd;
}

/* sysfs, procfs and cgroup2 of a user namespace that does not own the other namespaces are refused;
 * what the host has there is bound instead. */
static int bind_instead(struct init *init, const struct shim_op_mount *op,
                        const struct target *target) {
    const char *source = text(init, op->source);
    struct mount_attr attr = {.attr_set = op->attr_set & ~(uint64_t)MOUNT_ATTR__ATIME};
    if (op->flags & MOUNT_BIND_READONLY)
        attr.attr_set |= MOUNT_ATTR_RDONLY;
    int fd = kernel_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (fd < 0)
        return failed(init, CALL_OPEN_TREE, fd, source);
    int error = attr.attr_set ? kernel_mount_setattr(fd, AT_RECURSIVE, &attr) : 0;
    if (error)
        failed(init, CALL_MOUNT_SETATTR, error, source);
    else
        error = attach(init, fd, target, text(init, op->target));
    close(fd);
    return error;
}

static int place(struct init *init, struct request *request, const struct target *target) {
    const struct shim_op_mount *op = request->op;
    bool copies = op->flags & MOUNT_TMPCOPYUP && !target->created;
    request->attributes = copies ? op->attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY : op->attr_set;
    int fd = make_mount(init, request);
    bool attached = fd == -ENOSYS;
    if (attached)
        fd = mount_classically(init, request, target);
    if ((fd == -EPERM || fd == -EBUSY) && op->flags & MOUNT_FALL_BACK_TO_BIND && op->source &&
        text(init, op->source)[0] == '/')
        return bind_instead(init, op, target);
    if (fd < 0)
        return fd;
    int error = 0;
    if (copies) {
        error = copy_up(target->fd, fd);
        if (error)
            failed(init, CALL_COPY, error, text(init, op->target));
    }
    if (!error && request->attributes != op->attr_set)
        error = set_attributes(init, fd, false, MOUNT_ATTR_RDONLY, 0);
    if (!error && !attached)
        error = attach(init, fd, target, text(init, op->target));
    close(fd);
    return error;
}

/* A procfs may go over a procfs; nothing else goes inside of one (CVE-2019-16884). */
static bool is_refused(const struct init *init, const struct shim_op_mount *op, int target_fd) {
    return !(op->target_flags & TARGET_ALLOW_PROC) && is_on(target_fd, PROC_SUPER_MAGIC) &&
           strcmp(text(init, op->fstype), "proc") != 0;
}

/* Before Linux 5.2, and for options that only mount(2) takes, the flags of the mount have to be
 * said again. */
static int remount_classically(struct init *init, const struct request *request, int fd) {
    const struct shim_op_mount *op = request->op;
    uint64_t kept;
    int error = read_attributes(fd, &kept);
    if (error)
        return failed(init, CALL_STATFS, error, text(init, op->target));
    char *options = join_options(init, request);
    if (!options)
        return failed(init, CALL_MOUNT, -ENOMEM, NULL);
    error = mount_on(init, NULL, fd, NULL,
                     MS_REMOUNT | mount_flags(kept) | (unsigned long)op->sb_flags, options);
    free(options);
    return error;
}

/* What is not named stays, and so do the attributes of the mount. */
static int remount(struct init *init, const struct shim_op_mount *op) {
    struct request request = {.op = op};
    const char *path = text(init, op->target);
    int fd = resolve_path(init->rootfs_fd, path);
    if (fd < 0)
        return failed(init, CALL_OPENAT2, fd, path);
    int fs_fd = needs_mount(init, op) ? -ENOSYS : kernel_fspick(fd);
    int error = 0;
    if (fs_fd == -ENOSYS)
        error = remount_classically(init, &request, fd);
    else if (fs_fd < 0)
        error = failed(init, CALL_FSPICK, fs_fd, path);
    else
        error = configure(init, &request, fs_fd, FSCONFIG_CMD_RECONFIGURE);
    close_fd(&fs_fd);
    close(fd);
    return error;
}

int op_mount(struct init *init, const struct shim_op_mount *op) {
    char mode[16];
    struct stat status;
    struct target target;
    struct request request = {.op = op};
    if (op->flags & MOUNT_REMOUNT)
        return remount(init, op);
    int error = open_target(init, text(init, op->target), op->target_flags, MISSING_DIR, &target);
    if (error || target.fd < 0)
        return error;
    if (is_refused(init, op, target.fd)) {
        close(target.fd);
        return failed(init, CALL_CHECK_PROC, -EPERM, text(init, op->target));
    }
    if (op->flags & MOUNT_KEEP_MODE && !target.created && fstat(target.fd, &status) == 0) {
        snprintf(mode, sizeof mode, "mode=%o", (unsigned)status.st_mode & 07777);
        request.mode = mode;
    }
    error = place(init, &request, &target);
    close(target.fd);
    return error;
}
