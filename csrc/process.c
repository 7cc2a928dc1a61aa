// SPDX-License-Identifier: Apache-2.0
/* Decides nothing: system calls that Python has no safe name for in a core-initialised interpreter.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/ioprio.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int shim_pidfd_open(int pid) {
    long fd = syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : (int)fd;
}

int shim_pidfd_getfd(int pid_fd, int fd) {
    long copy = syscall(SYS_pidfd_getfd, pid_fd, fd, 0);

    return copy < 0 ? -errno : (int)copy;
}

int shim_pidfd_send_signal(int pid_fd, int signal) {
    return syscall(SYS_pidfd_send_signal, pid_fd, signal, NULL, 0) < 0 ? -errno : 0;
}

int shim_pidfd_wait(int pid_fd, int milliseconds) {
    struct pollfd wanted = {.fd = pid_fd, .events = POLLIN};
    int ready;

    do
        ready = poll(&wanted, 1, milliseconds);
    while (ready < 0 && errno == EINTR);
    return ready < 0 ? -errno : ready > 0;
}

const char *shim_describe_signal(int number) { return strsignal(number); }

int shim_set_subreaper(int on) {
    return prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0) < 0 ? -errno : 0;
}

/* CLOSE_RANGE_CLOEXEC: Linux 5.11.  Before, one by one, as far as the limit lets descriptors be. */
int shim_close_on_exec_from(int first) {
    struct rlimit limit;
    int fd;

    if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return 0;
    if (errno != ENOSYS && errno != EINVAL && errno != EPERM)
        return -errno;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    for (fd = first; (rlim_t)fd < limit.rlim_cur && fd < 1 << 20; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 && errno != EBADF)
            return -errno;
    return 0;
}

int shim_raise_rlimit_of(int pid, uint32_t resource, uint64_t hard) {
    struct rlimit limit;

    if (prlimit(pid, resource, NULL, &limit) < 0)
        return -errno;
    if (hard <= limit.rlim_max)
        return 0;
    limit.rlim_max = hard;
    return prlimit(pid, resource, &limit, NULL) < 0 ? -errno : 0;
}

/* struct sched_attr of linux/sched/types.h, whose name glibc took for its own: sched_setattr(2). */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

int shim_set_scheduler_of(int pid, uint32_t policy, uint64_t flags, int nice, uint32_t priority,
                          uint64_t runtime, uint64_t deadline, uint64_t period) {
    struct scheduling attributes = {.size = sizeof(attributes),
                                    .policy = policy,
                                    .flags = flags,
                                    .nice = nice,
                                    .priority = priority,
                                    .runtime = runtime,
                                    .deadline = deadline,
                                    .period = period};

    return syscall(SYS_sched_setattr, pid, &attributes, 0) < 0 ? -errno : 0;
}

int shim_set_io_priority_of(int pid, uint32_t value) {
    return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) < 0 ? -errno : 0;
}

int shim_setns(int fd, uint32_t nstype) { return setns(fd, (int)nstype) < 0 ? -errno : 0; }

int shim_unshare(uint32_t flags) { return unshare((int)flags) < 0 ? -errno : 0; }
