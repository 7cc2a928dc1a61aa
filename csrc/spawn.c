// SPDX-License-Identifier: Apache-2.0
/* Decides how init comes to life: sealed memfds, one clone with every namespace
 * flag, execveat.  It must not know what a plan says. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3 */
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

#define INLINE_MAX 4096 /* bytes of a payload; SOCK_MIN_SNDBUF is some more */

struct spawn {
    int init_fd;
    int plan_fd;
    int sync_fd; /* init's end */
    const int *enter;
    size_t enter_count;
    volatile uint32_t entered; /* of the child that shares our memory */
    const int *keep;
    size_t keep_count;
    uint64_t flags;
    char *argv[3];
    char plan_fd_text[12];
};

/* A memfd that nobody can change any more.  `flag` says whether it may be
 * executed; kernels before 6.3 refuse the flag and need none. */
static int sealed_memfd(const char *name, const void *bytes, size_t size, unsigned int flag) {
    unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = (int)syscall(SYS_memfd_create, name, flags | flag);
    size_t done = 0;
    int error;

    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_memfd_create, name, flags);
    if (fd < 0)
        return -errno;
    while (done < size) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            goto fail;
        done += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        goto fail;
    return fd;
fail:
    error = errno ? -errno : -EIO;
    close(fd);
    return error;
}

/* In a new user namespace, whose ids are not mapped yet, execve(2) would take the capabilities away
 * that clone(2) gave; those that are ambient stay (capabilities(7)).  Init clears them with
 * OP_SET_CAPS. */
static void keep_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    unsigned long capability;

    if (syscall(SYS_capget, &header, data) < 0)
        return;
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    if (syscall(SYS_capset, &header, data) < 0)
        return;
    for (capability = 0; capability < 64; capability++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0 && errno == EINVAL)
            break;
}

/* What the child does, in the memory of its parent, which waits meanwhile:
 * nothing but system calls.  SCM and close-on-exec flags are its own, because
 * the table of descriptors is. */
static _Noreturn void become_init(struct spawn *spawn) {
    static char *const environment[] = {NULL};
    struct shim_report report = {.kind = REPORT_FAILURE, .op = -1, .call = CALL_EXECVE};
    size_t i;

    for (i = 0; i < spawn->enter_count; i++)
        if (write(spawn->enter[i], "0", 1) == 1)
            spawn->entered |= UINT32_C(1) << i;
    syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    for (i = 0; i < spawn->keep_count; i++)
        fcntl(spawn->keep[i], F_SETFD, 0);
    fcntl(spawn->plan_fd, F_SETFD, 0);
    fcntl(spawn->sync_fd, F_SETFD, 0);
    if (spawn->flags & CLONE_NEWUSER)
        keep_capabilities();
    syscall(SYS_execveat, spawn->init_fd, "", spawn->argv, environment, AT_EMPTY_PATH);
    report.error = errno;
    send(spawn->sync_fd, &report, offsetof(struct shim_report, detail), MSG_NOSIGNAL);
    _exit(SHIM_NOT_EXECUTED);
}

#if defined(__x86_64__)
/* clone3 with CLONE_VM: the child begins on the stack named in `args`, where
 * nothing of ours lies, so it calls become_init without returning through a frame. */
static long clone_sharing_memory(struct clone_args *args, struct spawn *spawn) {
    long pid;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %[spawn], %%rdi\n\t"
                     "call *%[enter]\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(pid)
                     : "a"((long)SYS_clone3), "D"(args),
                       "S"(sizeof(*args)), [spawn] "r"(spawn), [enter] "r"(become_init)
                     : "rcx", "r11", "memory");
    return pid;
}
#elif defined(__aarch64__)
static long clone_sharing_memory(struct clone_args *args, struct spawn *spawn) {
    register long number __asm__("x8") = SYS_clone3;
    register long first __asm__("x0") = (long)args;
    register long second __asm__("x1") = sizeof(*args);

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, %[spawn]\n\t"
                     "blr %[enter]\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(first)
                     : "r"(number), "r"(second), [spawn] "r"(spawn), [enter] "r"(become_init)
                     : "memory", "x30");
    return first;
}
#else
static long clone_sharing_memory(struct clone_args *args, struct spawn *spawn) {
    (void)args;
    (void)spawn;
    return -ENOSYS;
}
#endif

/* A child with a copy of the memory: where the asm above is not there, and
 * where a sandbox refuses clone3 (ENOSYS), by clone(2). */
static long clone_copying_memory(struct clone_args *args, struct spawn *spawn) {
    long pid;

    args->flags &= ~(uint64_t)(CLONE_VM | CLONE_VFORK);
    args->stack = 0;
    args->stack_size = 0;
    pid = syscall(SYS_clone3, args, sizeof(*args));
    if (pid < 0 && errno == ENOSYS && !(args->flags & CLONE_INTO_CGROUP))
        pid = syscall(SYS_clone, args->flags | SIGCHLD, NULL, (int *)(uintptr_t)args->pidfd, NULL,
                      NULL);
    if (pid == 0)
        become_init(spawn);
    return pid < 0 ? -errno : pid;
}

static long clone_init(uint64_t flags, int cgroup_fd, int *pid_fd, struct spawn *spawn) {
    static char stack[65536] __attribute__((aligned(16)));
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD | CLONE_VM | CLONE_VFORK,
        .pidfd = (uintptr_t)pid_fd,
        .exit_signal = SIGCHLD,
        .stack = (uintptr_t)stack,
        .stack_size = sizeof(stack),
    };
    sigset_t all, before;
    long pid;

    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_fd;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    /* Whoever shares memory stays in its time namespace (before Linux 6.2 even beyond execve). */
    pid = flags & CLONE_NEWTIME ? -ENOSYS : clone_sharing_memory(&args, spawn);
    if (pid == -ENOSYS)
        pid = clone_copying_memory(&args, spawn);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (cgroup_fd >= 0 && (pid == -E2BIG || pid == -ENOSYS))
        return -EOPNOTSUPP; /* before Linux 5.7 */
    return pid;
}

int shim_spawn(struct shim_plan *plan, uint64_t flags, int cgroup_fd, const int *enter,
               size_t enter_count, const int *keep, size_t keep_count, struct shim_child *child) {
    struct spawn spawn = {.init_fd = -1,
                          .plan_fd = -1,
                          .enter = enter,
                          .enter_count = enter_count < 32 ? enter_count : 32,
                          .keep = keep,
                          .keep_count = keep_count,
                          .flags = flags};
    const unsigned char *image;
    const void *buffer;
    int sync[2], pid_fd = -1;
    size_t size = 0;
    long result;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
        return -errno;
    spawn.sync_fd = sync[1];
    buffer = shim_plan_finish(plan, sync[1], &size);
    result = buffer ? 0 : -ENOMEM;
    if (!result)
        result = spawn.plan_fd = sealed_memfd("pyrunc-plan", buffer, size, MFD_NOEXEC_SEAL);
    image = shim_init_image(&size);
    if (result >= 0)
        result = spawn.init_fd = sealed_memfd("pyrunc-init", image, size, MFD_EXEC);
    /* What cannot be read cannot be traced from its execve on (would_dump() of fs/exec.c): in the
     * user namespace root of the host is nobody in particular. */
    if (result >= 0 && flags & CLONE_NEWUSER && geteuid() == 0 && fchmod(spawn.init_fd, 0111) < 0)
        result = -errno;
    if (result >= 0) {
        snprintf(spawn.plan_fd_text, sizeof(spawn.plan_fd_text), "%d", spawn.plan_fd);
        spawn.argv[0] = (char *)(uintptr_t) "pyrunc-init";
        spawn.argv[1] = spawn.plan_fd_text;
        result = clone_init(flags, cgroup_fd, &pid_fd, &spawn);
    }
    if (spawn.init_fd >= 0)
        close(spawn.init_fd);
    if (spawn.plan_fd >= 0)
        close(spawn.plan_fd);
    close(sync[1]);
    if (result < 0) {
        close(sync[0]);
        return (int)result;
    }
    child->pid = (int32_t)result;
    child->pid_fd = pid_fd;
    child->sync_fd = sync[0];
    child->entered = spawn.entered;
    return 0;
}

int shim_read_report(int sync_fd, struct shim_report *report, int *fd) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {report, sizeof(*report)};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *header;
    ssize_t size;

    *fd = -1;
    memset(report, 0, sizeof(*report));
    do
        size = recvmsg(sync_fd, &message, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return errno == ECONNRESET ? 0 : -errno;
    if (size == 0)
        return 0;
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof(*fd));
    if ((size_t)size < offsetof(struct shim_report, detail))
        return -EBADMSG;
    if (report->detail_size > SHIM_DETAIL_MAX)
        report->detail_size = SHIM_DETAIL_MAX;
    return 1;
}

/* One message: "G" and the payload, or "F" and a file with the payload where that is more than the
 * smallest buffer of a socket takes (SO_SNDBUF of socket(7)). */
int shim_go(int sync_fd, const void *payload, size_t size) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    char word = size > INLINE_MAX ? 'F' : 'G';
    struct iovec parts[2] = {{&word, 1}, {(void *)(uintptr_t)payload, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size && word == 'G' ? 2 : 1};
    int file = -1, result;
    ssize_t sent;

    if (word == 'F') {
        file = sealed_memfd("pyrunc-payload", payload, size, MFD_NOEXEC_SEAL);
        if (file < 0)
            return file;
        memcpy(CMSG_DATA(&control.header), &file, sizeof(file));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    do
        sent = sendmsg(sync_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    result = sent < 0 ? -errno : 0;
    if (file >= 0)
        close(file);
    return result;
}
