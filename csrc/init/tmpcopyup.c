/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how a directory's content gets into the tmpfs that is to cover it (mount option
 * tmpcopyup).  Both sides are held by descriptors and no link is followed, so the rootfs cannot
 * lead the copy elsewhere. */
#include "init.h"
#include <dirent.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#define DEPTH_MAX 100

static int copy_dir(int source, int target, int depth);

/* Best effort: not every file system has every name space of attributes, nor may a user namespace
 * set them. */
static void copy_attributes(int source, int target) {
    char names[2048], value[2048];
    ssize_t size = flistxattr(source, names, sizeof names);
    for (char *name = names; size > 0 && name < names + size; name += strlen(name) + 1) {
        ssize_t length = fgetxattr(source, name, value, sizeof value);
        if (length >= 0)
            (void)fsetxattr(target, name, value, (size_t)length, 0);
    }
}

static int copy_owner(int target, const struct stat *status) {
    struct timespec times[2] = {status->st_atim, status->st_mtim};
    if (fchown(target, status->st_uid, status->st_gid) < 0 && errno != EPERM && errno != EINVAL)
        return -errno;
    if (fchmod(target, status->st_mode & 07777) < 0)
        return -errno;
    (void)futimens(target, times);
    return 0;
}

static int copy_file(int source_dir, int target_dir, const char *name) {
    struct stat status;
    int source = openat(source_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (source < 0)
        return -errno;
    int error = 0, target = -1;
    if (fstat(source, &status) < 0)
        error = -errno;
    else if (!S_ISREG(status.st_mode))
        error = -EINVAL; /* swapped since it was looked at */
    if (!error) {
        target = openat(target_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        error = target < 0 ? -errno : 0;
    }
    while (!error) {
        ssize_t sent = sendfile(target, source, NULL, 1 << 20);
        if (sent == 0)
            break;
        if (sent < 0 && errno != EINTR)
            error = -errno;
    }
    if (!error) {
        copy_attributes(source, target);
        error = copy_owner(target, &status);
    }
    close_fd(&target);
    close(source);
    return error;
}

static int copy_link(int source_dir, int target_dir, const char *name, const struct stat *status) {
    char words[PATH_MAX];
    ssize_t size = readlinkat(source_dir, name, words, sizeof words - 1);
    if (size < 0)
        return -errno;
    words[size] = '\0';
    if (symlinkat(words, target_dir, name) < 0)
        return -errno;
    (void)fchownat(target_dir, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int copy_node(int target_dir, const char *name, const struct stat *status) {
    if (mknodat(target_dir, name, status->st_mode, status->st_rdev) < 0)
        return errno == EPERM ? 0 : -errno;
    (void)fchownat(target_dir, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int copy_subdir(int source_dir, int target_dir, const char *name, int depth) {
    if (mkdirat(target_dir, name, 0700) < 0)
        return -errno;
    int source = openat(source_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (source < 0)
        return -errno;
    int target = openat(target_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int error = target < 0 ? -errno : copy_dir(source, target, depth);
    close_fd(&target);
    close(source);
    return error;
}

static int copy_entry(int source, int target, const char *name, int depth) {
    struct stat status;
    if (fstatat(source, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    switch (status.st_mode & S_IFMT) {
    case S_IFDIR:
        return copy_subdir(source, target, name, depth);
    case S_IFREG:
        return copy_file(source, target, name);
    case S_IFLNK:
        return copy_link(source, target, name, &status);
    case S_IFSOCK:
        return 0; /* bound to a process that is not there */
    default:
        return copy_node(target, name, &status);
    }
}

static int copy_entries(int source, int target, int depth) {
    int error = 0;
    int fd = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        error = -errno;
        close_fd(&fd);
        return error;
    }
    while (!error) {
        errno = 0;
        struct dirent *entry = readdir(entries);
        if (!entry) {
            error = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            error = copy_entry(source, target, entry->d_name, depth);
    }
    closedir(entries);
    return error;
}

/* Modes and times last: making the content changes them. */
static int copy_dir(int source, int target, int depth) {
    struct stat status;
    if (depth > DEPTH_MAX)
        return -ELOOP;
    if (fstat(source, &status) < 0)
        return -errno;
    int error = copy_entries(source, target, depth + 1);
    if (error)
        return error;
    copy_attributes(source, target);
    return copy_owner(target, &status);
}

/* Copies what is in `source_fd`, and the owner but not the mode of it, to `target_fd`; both may be
 * O_PATH. */
int copy_up(int source_fd, int target_fd) {
    struct stat status;
    int source = openat(source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source < 0)
        return -errno;
    int target = openat(target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = target < 0 ? -errno : copy_entries(source, target, 0);
    if (!error && fstat(source, &status) == 0)
        (void)fchown(target, status.st_uid, status.st_gid);
    close_fd(&target);
    close(source);
    return error;
}
