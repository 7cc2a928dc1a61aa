// SPDX-License-Identifier: Apache-2.0
/* Decides how the runtime gets at a mount in init's mount namespace without leaving its own: a
 * child does, which shares memory and descriptors with it.  Rights over a file system, which the
 * kernel demands for an id-mapped mount, and over directories that the container's root may not
 * enter, are the runtime's alone where init is in a user namespace. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef SYS_mount_setattr /* Linux 5.12 */
#define SYS_mount_setattr 442
#endif

struct errand {
    int mount_ns_fd;
    struct shim_source *source;
    int result;
    int place_fd; /* what is there, where a copy of the mount alone is refused */
};

static int fail(struct errand *errand, uint32_t call) {
    errand->source->call = call;
    errand->result = -errno;
    return 0;
}

static int path_flags(const struct shim_source *source) {
    return O_PATH | O_CLOEXEC | (source->bind & BIND_SOURCE_NOFOLLOW ? O_NOFOLLOW : 0);
}

static int open_tree_of(const struct shim_source *source) {
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    long fd;

    if (source->bind & BIND_RECURSIVE)
        flags |= AT_RECURSIVE;
    if (source->bind & BIND_SOURCE_NOFOLLOW)
        flags |= AT_SYMLINK_NOFOLLOW;
    fd = syscall(SYS_open_tree, AT_FDCWD, source->path, flags);
    return fd < 0 ? -errno : (int)fd;
}

/* Nothing but system calls: the memory is the parent's, which waits meanwhile. */
static int run_errand(void *argument) {
    struct errand *errand = argument;
    struct shim_source *source = errand->source;

    if (setns(errand->mount_ns_fd, CLONE_NEWNS) < 0)
        return fail(errand, CALL_SETNS);
    errand->result = open_tree_of(source);
    if (errand->result >= 0)
        return 0;
    if (errno == EINVAL && !(source->bind & BIND_RECURSIVE))
        errand->place_fd = open(source->path, path_flags(source));
    errno = -errand->result;
    return fail(errand, CALL_OPEN_TREE);
}

/* Mounts that were copied to a namespace with fewer rights are locked to what they cover, so that a
 * copy without them is refused there.  The runtime's namespace has the same mount unlocked, unless
 * the place is one that an earlier mount of the container provides. */
static int open_unlocked(struct errand *errand) {
    struct stat wanted, found;
    int fd = open_tree_of(errand->source);

    if (fd >= 0 && (fstat(fd, &found) < 0 || fstat(errand->place_fd, &wanted) < 0 ||
                    wanted.st_dev != found.st_dev || wanted.st_ino != found.st_ino)) {
        close(fd);
        fd = -EINVAL;
    }
    close(errand->place_fd);
    return fd;
}

static int map_ids(struct shim_source *source, int mount_fd) {
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_IDMAP,
        .userns_fd = (uint64_t)source->userns_fd,
    };
    unsigned flags = AT_EMPTY_PATH | (source->recursive ? AT_RECURSIVE : 0);

    if (syscall(SYS_mount_setattr, mount_fd, "", flags, &attr, sizeof(attr)) < 0) {
        source->call = CALL_MOUNT_SETATTR;
        return -errno;
    }
    return 0;
}

int shim_open_source(int mount_ns_fd, struct shim_source *source) {
    static char stack[65536] __attribute__((aligned(16)));
    struct errand errand = {
        .mount_ns_fd = mount_ns_fd, .source = source, .result = -EIO, .place_fd = -1};
    sigset_t all, before;
    int pid, error;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = clone(run_errand, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD,
                &errand);
    error = pid < 0 ? -errno : 0;
    while (pid >= 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (error) {
        source->call = CALL_CLONE;
        return error;
    }
    if (errand.place_fd >= 0)
        errand.result = open_unlocked(&errand);
    if (errand.result >= 0 && source->userns_fd >= 0) {
        error = map_ids(source, errand.result);
        if (error) {
            close(errand.result);
            return error;
        }
    }
    return errand.result;
}

int shim_has_mount_setattr(void) {
    return syscall(SYS_mount_setattr, -1, NULL, 0U, NULL, (size_t)0) == 0 || errno != ENOSYS;
}

int shim_send_mount(int sync_fd, int mount_fd) {
    char word = 'M';
    struct iovec data = {&word, 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    ssize_t sent;

    memset(&control, 0, sizeof(control));
    if (mount_fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control.space);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &mount_fd, sizeof(mount_fd));
    }
    do
        sent = sendmsg(sync_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* It ends with its parent, whatever becomes of that. */
int shim_new_user_namespace(void) {
    pid_t parent = getpid();
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return (int)pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (;;)
        pause();
}
