// SPDX-License-Identifier: Apache-2.0
// Runs commands one after the other and tells what each took. Small and static: a process starts with the peak memory
// of the one that it was forked from (exec_mmap in fs/exec.c keeps it), so a large parent would hide a small child.
//
//   measure LOG STEP...      each STEP ends with the argument ";"
//     run COMMAND ARG...     one line "NANOSECONDS PEAK_KIB STATUS"; LOG gets its output; a failure ends the program
//     ended PIDFILE          one line "NANOSECONDS 0 0" once the process is dead
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// As an engine's monitor, this is the parent of orphans, and takes the status of each at once.
static int run(char **argv, int log_fd)
{
    struct rusage usage;
    int status;
    long long begin = now();
    pid_t child = vfork();
    if (child == 0) {
        dup2(log_fd, 1);
        dup2(log_fd, 2);
        execv(argv[0], argv);
        _exit(127);
    }
    if (child < 0)
        return -1;
    for (;;) {
        pid_t pid = wait4(-1, &status, 0, &usage);
        if (pid == child)
            break;
        if (pid < 0 && errno != EINTR)
            return -1;
    }
    long long took = now() - begin;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    printf("%lld %ld %d\n", took, usage.ru_maxrss, code);
    return code;
}

static int ended(const char *pid_file)
{
    char text[32] = "";
    long long begin = now();
    int fd = open(pid_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return -1;
    close(fd);
    int pidfd = (int)syscall(SYS_pidfd_open, atoi(text), 0);
    if (pidfd >= 0) {
        struct pollfd wait = {.fd = pidfd, .events = POLLIN};
        poll(&wait, 1, 10000);
        close(pidfd);
    }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    printf("%lld 0 0\n", now() - begin);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int log_fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return 2;
    for (int i = 2; i < argc;) {
        int end = i;
        while (end < argc && strcmp(argv[end], ";") != 0)
            end++;
        if (end == argc || end - i < 2)
            return 2;
        argv[end] = NULL;
        int result = strcmp(argv[i], "run") == 0 ? run(argv + i + 1, log_fd) : ended(argv[i + 1]);
        fflush(stdout);
        if (result != 0)
            return 1;
        i = end + 1;
    }
    return 0;
}
