/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides where a path in the rootfs leads: the one resolver.  Nothing outside of the rootfs is
 * ever reached, however its content is swapped meanwhile (CVE-2021-30465, CVE-2024-45310,
 * CVE-2026-41579).
 *
 * openat2(2) does it in one call.  Where it is not to be had (before Linux 5.6, or a filter of the
 * host's), where it keeps losing against renames, and where components have to be made, a walk by
 * descriptors does: each component is opened without following, a symbolic link's text is walked
 * from the rootfs or from where the link is, and ".." goes back to the descriptor that the walk
 * came through, never to what the kernel thinks is above, so that a directory moved away meanwhile
 * leads nowhere new. */
#include "init.h"
#include <limits.h>

/* RESOLVE_IN_ROOT gives EAGAIN for ".." whenever any rename or mount happened on the system. */
#define EAGAIN_TRIES 512
#define WALK_DEPTH 128
#define LINKS_MAX 40 /* MAXSYMLINKS of the kernel */
#define MAKE_TRIES 64

struct walk {
    int fds[WALK_DEPTH]; /* [0] is the rootfs */
    int depth;           /* index of the deepest */
    int links;
    int final_fd; /* what the wish was for, or -1 */
    char *next;   /* what is left of `rest` */
    char name[NAME_MAX + 1];
    char rest[PATH_MAX];
    char target[PATH_MAX];
};

static bool take_component(struct walk *walk, int *error) {
    while (*walk->next == '/')
        walk->next++;
    size_t length = strcspn(walk->next, "/");
    *error = 0;
    if (length == 0)
        return false;
    if (length > NAME_MAX) {
        *error = -ENAMETOOLONG;
        return false;
    }
    memcpy(walk->name, walk->next, length);
    walk->name[length] = '\0';
    walk->next += length;
    return true;
}

static bool is_last(const struct walk *walk) { return walk->next[strspn(walk->next, "/")] == '\0'; }

static int push(struct walk *walk, int fd) {
    if (walk->depth + 1 >= WALK_DEPTH) {
        close(fd);
        return -ENAMETOOLONG;
    }
    walk->fds[++walk->depth] = fd;
    return 0;
}

static void pop_to(struct walk *walk, int depth) {
    while (walk->depth > depth)
        close(walk->fds[walk->depth--]);
}

/* Puts the text of the link before what is left. */
static int follow(struct walk *walk, int link_fd, const struct wish *wish) {
    if (wish->restrictions & RESOLVE_NO_SYMLINKS || ++walk->links > LINKS_MAX)
        return -ELOOP;
    ssize_t length = readlinkat(link_fd, "", walk->target, sizeof walk->target);
    if (length <= 0)
        return length < 0 ? -errno : -ENOENT;
    /* What a link of procfs to an open file, a root or a working directory says is not where it
     * leads; those that may be followed are relative. */
    if (walk->target[0] == '/' && is_on(link_fd, PROC_SUPER_MAGIC))
        return -ELOOP;
    size_t left = strlen(walk->next);
    if ((size_t)length + 1 + left + 1 > sizeof walk->rest)
        return -ENAMETOOLONG;
    memmove(walk->rest + length + 1, walk->next, left + 1);
    memcpy(walk->rest, walk->target, (size_t)length);
    walk->rest[length] = '/';
    walk->next = walk->rest;
    if (walk->target[0] == '/')
        pop_to(walk, 0);
    return 0;
}

static int make(struct walk *walk, const struct wish *wish) {
    int parent = walk->fds[walk->depth];
    if (wish->missing == MISSING_FILE && is_last(walk)) {
        int fd = openat(parent, walk->name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC,
                        wish->mode);
        if (fd < 0)
            return -errno;
        close(fd);
    } else if (mkdirat(parent, walk->name, is_last(walk) ? wish->mode : 0755) < 0) {
        return -errno;
    }
    if (wish->created && is_last(walk))
        *wish->created = true;
    return 0;
}

/* Opens the component, made where it is missing and that is wished for. */
static int open_component(struct walk *walk, const struct wish *wish) {
    for (int tries = 0; tries < MAKE_TRIES; tries++) {
        int fd = openat(walk->fds[walk->depth], walk->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT || wish->missing == MISSING_IS_ERROR)
            return fd < 0 ? -errno : fd;
        int error = make(walk, wish);
        if (error && error != -EEXIST)
            return error;
    }
    return -EAGAIN;
}

static int step(struct walk *walk, const struct wish *wish) {
    struct stat status;
    if (strcmp(walk->name, ".") == 0 || strcmp(walk->name, "..") == 0) {
        if (fstat(walk->fds[walk->depth], &status) < 0)
            return -errno;
        if (!S_ISDIR(status.st_mode))
            return -ENOTDIR;
        if (walk->name[1] == '.' && walk->depth > 0)
            pop_to(walk, walk->depth - 1);
        return 0;
    }
    int fd = open_component(walk, wish);
    if (fd < 0)
        return fd;
    if (fstat(fd, &status) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    if (S_ISLNK(status.st_mode) && !(is_last(walk) && wish->flags & O_NOFOLLOW)) {
        int error = follow(walk, fd, wish);
        close(fd);
        return error;
    }
    if (is_last(walk) && !(wish->flags & O_PATH)) {
        walk->final_fd = openat(walk->fds[walk->depth], walk->name,
                                wish->flags | O_NOFOLLOW | O_CLOEXEC, wish->mode);
        close(fd);
        return walk->final_fd < 0 ? -errno : 0;
    }
    return push(walk, fd);
}

/* What the walk has come to, as the wish asks for it. */
static int arrive(struct walk *walk, const struct wish *wish) {
    struct stat status;
    if (walk->final_fd >= 0)
        return walk->final_fd;
    int top = walk->fds[walk->depth];
    if (!(wish->flags & O_PATH))
        return answer(openat(top, ".", wish->flags | O_CLOEXEC));
    if (fstat(top, &status) < 0)
        return -errno;
    if (wish->flags & O_DIRECTORY && !S_ISDIR(status.st_mode))
        return -ENOTDIR;
    return answer(fcntl(top, F_DUPFD_CLOEXEC, 3));
}

int resolve_walk(int root_fd, const char *path, const struct wish *wish) {
    struct walk walk;
    int error = 0;
    size_t size = strlen(path) + 1;
    if (size > sizeof walk.rest)
        return -ENAMETOOLONG;
    memcpy(walk.rest, path, size);
    walk.next = walk.rest;
    walk.links = 0;
    walk.depth = 0;
    walk.final_fd = -1;
    walk.fds[0] = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
    if (walk.fds[0] < 0)
        return -errno;
    while (!error && walk.final_fd < 0 && take_component(&walk, &error))
        error = step(&walk, wish);
    if (!error)
        error = arrive(&walk, wish);
    pop_to(&walk, -1);
    return error;
}

int resolve(int root_fd, const char *path, const struct wish *wish) {
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(wish->flags | O_CLOEXEC),
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | wish->restrictions,
    };
    int fd = -EAGAIN;
    for (int tries = 0; fd == -EAGAIN && tries < EAGAIN_TRIES; tries++)
        fd = kernel_openat2(root_fd, *path ? path : ".", &how);
    bool to_make = fd == -ENOENT && wish->missing != MISSING_IS_ERROR;
    if (fd == -ENOSYS || fd == -EPERM || fd == -EAGAIN || to_make)
        fd = resolve_walk(root_fd, path, wish);
    return fd;
}

int resolve_path(int root_fd, const char *path) {
    return resolve(root_fd, path, &(struct wish){.flags = O_PATH});
}

/* The directory that holds the last component of `path`, made where it is missing, and that
 * component's name, which is itself not followed. */
int resolve_parent(int root_fd, const char *path, char last[NAME_MAX + 1]) {
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    size_t length = end - begin;
    if (length > NAME_MAX || begin >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(last, path + begin, length);
    last[length] = '\0';
    if (length == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return -EINVAL;
    char *directory = strndup(path, begin);
    if (!directory)
        return -ENOMEM;
    int fd = resolve(
        root_fd, directory,
        &(struct wish){.flags = O_PATH | O_DIRECTORY, .missing = MISSING_DIR, .mode = 0755});
    free(directory);
    return fd;
}
