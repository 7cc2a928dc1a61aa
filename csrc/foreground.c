// SPDX-License-Identifier: Apache-2.0
/* Decides how the runtime stands in for a container in the foreground: signals, terminal, reaping.
 * It must not touch the container's state. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

struct relay {
    int pid;
    int pid_fd;
    int ptmx_fd; /* -1: no terminal */
    int signal_fd;
    bool input;    /* our standard input may still have something */
    bool output;   /* the container may still write to its terminal */
    bool terminal; /* `before` is to be given back to our terminal */
    struct termios before;
    bool ended;
    int status;
};

void shim_copy_window_size(int ptmx_fd) {
    struct winsize size;

    if (ptmx_fd >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        (void)ioctl(ptmx_fd, TIOCSWINSZ, &size);
}

static void make_raw(struct relay *relay) {
    struct termios raw;

    if (relay->ptmx_fd < 0 || tcgetattr(STDIN_FILENO, &relay->before) < 0)
        return;
    raw = relay->before;
    cfmakeraw(&raw);
    relay->terminal = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static int write_all(int fd, const char *bytes, size_t size) {
    while (size) {
        ssize_t n = write(fd, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wanted = {.fd = fd, .events = POLLOUT};

            (void)poll(&wanted, 1, -1);
            continue;
        }
        if (n <= 0)
            return -1;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

/* What one read gives goes from one end to the other; false at the end. */
static bool copy_some(int from, int to) {
    char bytes[8192];
    ssize_t n = read(from, bytes, sizeof(bytes));

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    return n > 0 && write_all(to, bytes, (size_t)n) == 0;
}

/* The end of input is told to the terminal as its end-of-file character,
 * which is only one for a line discipline in canonical mode. */
static void end_input(struct relay *relay) {
    struct termios mode;

    relay->input = false;
    if (tcgetattr(relay->ptmx_fd, &mode) == 0 && (mode.c_lflag & ICANON))
        (void)write_all(relay->ptmx_fd, (const char *)&mode.c_cc[VEOF], 1);
}

static void reap(struct relay *relay) {
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == relay->pid) {
            relay->ended = true;
            relay->status = status;
        }
}

static void take_signal(struct relay *relay) {
    struct signalfd_siginfo info;

    if (read(relay->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD)
        reap(relay);
    else if (info.ssi_signo == SIGWINCH)
        shim_copy_window_size(relay->ptmx_fd);
    else
        (void)syscall(SYS_pidfd_send_signal, relay->pid_fd, info.ssi_signo, NULL, 0);
}

/* What the container wrote last is still in its terminal after its end. */
static void drain(struct relay *relay) {
    struct pollfd wanted = {.fd = relay->ptmx_fd, .events = POLLIN};

    while (relay->output && poll(&wanted, 1, 0) > 0 && (wanted.revents & POLLIN))
        relay->output = copy_some(relay->ptmx_fd, STDOUT_FILENO);
}

static int relay_until_end(struct relay *relay) {
    while (!relay->ended) {
        struct pollfd wanted[3] = {
            {.fd = relay->signal_fd, .events = POLLIN},
            {.fd = relay->output ? relay->ptmx_fd : -1, .events = POLLIN},
            {.fd = relay->input ? STDIN_FILENO : -1, .events = POLLIN},
        };

        if (poll(wanted, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (wanted[1].revents && !copy_some(relay->ptmx_fd, STDOUT_FILENO))
            relay->output = false;
        if (wanted[2].revents && !copy_some(STDIN_FILENO, relay->ptmx_fd))
            end_input(relay);
        if (wanted[0].revents)
            take_signal(relay);
    }
    drain(relay);
    return 0;
}

/* Faults are our own, and so is SIGPIPE, which says that nobody reads us. */
static sigset_t forwarded(void) {
    sigset_t set;

    sigfillset(&set);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGILL);
    sigdelset(&set, SIGABRT);
    sigdelset(&set, SIGPIPE);
    return set;
}

int shim_block_signals(void) {
    sigset_t set = forwarded();

    sigaddset(&set, SIGPIPE);
    return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

int shim_foreground(int pid, int pid_fd, int ptmx_fd) {
    struct relay relay = {
        .pid = pid,
        .pid_fd = pid_fd,
        .ptmx_fd = ptmx_fd,
        .input = ptmx_fd >= 0,
        .output = ptmx_fd >= 0,
    };
    sigset_t wanted = forwarded();
    int result = shim_block_signals();

    if (result < 0)
        return result;
    relay.signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (relay.signal_fd < 0)
        return -errno;
    make_raw(&relay);
    reap(&relay);
    result = relay_until_end(&relay);
    if (relay.terminal)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &relay.before);
    close(relay.signal_fd);
    return result < 0 ? result : relay.status;
}
