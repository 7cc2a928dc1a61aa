/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what surrounds the container's process: working directory, environment, executable,
 * descriptors. */
#include "init.h"
#include <limits.h>
#include <sys/sysmacros.h>

/* Pointers to the strings of a list, and NULL; `spare` more of it.  malloc'ed. */
char **make_vector(const struct init *init, struct shim_list list, uint32_t spare) {
    const char *next = (const char *)init->plan + list.offset;
    char **vector = calloc((size_t)list.count + spare + 1, sizeof *vector);
    for (uint32_t i = 0; vector && i < list.count; i++, next += strlen(next) + 1)
        vector[i] = (char *)(uintptr_t)next;
    return vector;
}

/* The kernel words a directory outside of the root as "(unreachable)/..." (CVE-2024-21626). */
static int verify_cwd(struct init *init, const char *wanted) {
    char path[PATH_MAX];
    long size = syscall(SYS_getcwd, path, sizeof path);
    if (size < 0)
        return failed(init, CALL_GETCWD, -errno, wanted);
    return path[0] == '/' ? 0 : failed(init, CALL_CHECK_CWD, -EXDEV, wanted);
}

/* Twice in a plan: as root, where the directory is made; and as the user, who may be the only one
 * to get there (a root-squashing file system) or may not get there at all, having been put there by
 * root: then it was verified, and is not again, since the container's filter may forbid getcwd. */
int op_change_dir(struct init *init, const struct shim_op_change_dir *op) {
    const char *path = text(init, op->path);
    struct wish wish = {.flags = O_PATH | O_DIRECTORY,
                        .missing = op->flags & CHANGE_DIR_CREATE ? MISSING_DIR : MISSING_IS_ERROR,
                        .mode = 0755};
    if (!op->flags && init->cwd && strcmp(init->cwd, path) == 0)
        return 0;
    int fd = resolve(init->rootfs_fd, path, &wish);
    int error = fd < 0 ? fd : answer(fchdir(fd));
    close_fd(&fd);
    if (op->flags & CHANGE_DIR_TOLERATE && (error == -EACCES || error == -EPERM))
        return 0;
    if (error)
        return failed(init, CALL_CHDIR, error, path);
    init->cwd = path;
    return verify_cwd(init, path);
}

/* The home directory of the first entry of `uid`, malloc'ed, or NULL. */
static char *find_home(char *passwd, uint32_t uid) {
    for (char *line = passwd; line && *line;) {
        char *fields[7] = {line}, *end;
        int count = 1;
        char *next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        for (char *colon = strchr(line, ':'); colon && count < 7; colon = strchr(colon, ':')) {
            *colon++ = '\0';
            fields[count++] = colon;
        }
        if (count >= 6 && fields[2][0] >= '0' && fields[2][0] <= '9' &&
            strtoul(fields[2], &end, 10) == uid && *end == '\0' && fields[5][0])
            return strdup(fields[5]);
        line = next;
    }
    return NULL;
}

/* /etc/passwd of the container; it must be an ordinary file, and no more than 1 MiB of it is read.
 */
static char *read_passwd(const struct init *init) {
    struct stat status;
    char *content = NULL;
    size_t size = 0, limit = 1 << 20;
    int fd = resolve_path(init->rootfs_fd, "/etc/passwd");
    bool ordinary = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    close_fd(&fd);
    if (!ordinary)
        return NULL;
    fd = resolve(init->rootfs_fd, "/etc/passwd",
                 &(struct wish){.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY});
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        limit = (size_t)status.st_size < limit ? (size_t)status.st_size : limit;
        content = calloc(1, limit + 1);
        for (ssize_t got = 1; content && got > 0 && size<limit; size += got> 0 ? (size_t)got : 0)
            got = read(fd, content + size, limit - size);
    }
    close_fd(&fd);
    return content;
}

static int set_home(struct init *init, uint32_t uid, uint32_t count) {
    uint32_t place = count;
    char *passwd = read_passwd(init);
    char *home = passwd ? find_home(passwd, uid) : NULL;
    size_t size = (home ? strlen(home) : 1) + sizeof "HOME=";
    char *entry = malloc(size);
    if (entry)
        snprintf(entry, size, "HOME=%s", home ? home : "/");
    free(home);
    free(passwd);
    if (!entry)
        return failed(init, CALL_READ, -ENOMEM, "HOME");
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(init->environment[i], "HOME=", 5) == 0)
            place = i;
    init->environment[place] = entry;
    return 0;
}

int op_set_environment(struct init *init, const struct shim_op_set_environment *op) {
    uint32_t count = op->env.count;
    free(init->environment);
    init->environment = make_vector(init, op->env, 2);
    if (!init->environment)
        return failed(init, CALL_READ, -ENOMEM, NULL);
    if (op->flags & ENVIRONMENT_LISTEN_PID) {
        char *entry = malloc(sizeof "LISTEN_PID=" + 11);
        if (!entry)
            return failed(init, CALL_READ, -ENOMEM, NULL);
        sprintf(entry, "LISTEN_PID=%d", (int)getpid());
        init->environment[count++] = entry;
    }
    return op->flags & ENVIRONMENT_HOME ? set_home(init, op->uid, count) : 0;
}

/* As Go's os/exec looks: what engines compare messages with. */
static int check_executable(const char *path) {
    struct stat status;
    if (stat(path, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
        return 0;
    return errno == ENOSYS || errno == EPERM ? (status.st_mode & 0111 ? 0 : -EACCES) : -errno;
}

static const char *search_path(const struct init *init) {
    for (char **entry = init->environment; entry && *entry; entry++)
        if (strncmp(*entry, "PATH=", 5) == 0)
            return *entry + 5;
    return "";
}

static int find_in_path(struct init *init, const char *name) {
    char path[PATH_MAX];
    for (const char *next = search_path(init); *next;) {
        size_t length = strcspn(next, ":");
        int size = snprintf(path, sizeof path, "%.*s/%s", (int)length, next, name);
        /* An element that is not absolute finds nothing, as in Go (ErrDot). */
        if (*next == '/' && size < (int)sizeof path && check_executable(path) == 0) {
            init->executable = strdup(path);
            return init->executable ? 0 : failed(init, CALL_FIND_EXECUTABLE, -ENOMEM, name);
        }
        next += length + (next[length] == ':');
    }
    return failed(init, CALL_FIND_EXECUTABLE, -ENOENT, name);
}

int op_find_executable(struct init *init, const struct shim_op_find_executable *op) {
    const char *name = text(init, op->name);
    free(init->executable);
    init->executable = NULL;
    if (!strchr(name, '/'))
        return find_in_path(init, name);
    int error = check_executable(name);
    if (error)
        return failed(init, CALL_FIND_EXECUTABLE, error, name);
    init->executable = strdup(name);
    return init->executable ? 0 : failed(init, CALL_FIND_EXECUTABLE, -ENOMEM, name);
}
