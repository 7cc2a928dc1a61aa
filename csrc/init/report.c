/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what the runtime is told, and waits for its answers.  Nothing here words an error for
 * people: the runtime does, from the operation's origin. */
#include "init.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

/* Notes the call and the detail of a failure and gives `error` back. */
int failed(struct init *init, uint32_t call, int error, const char *detail) {
    init->call = call;
    init->detail[0] = '\0';
    if (detail)
        snprintf(init->detail, sizeof init->detail, "%s", detail);
    return error;
}

/* With write(2), the one call that a filter may not notify an agent of: nobody could answer before
 * the listener is handed over, which this asks for. */
static int write_report(int fd, const struct shim_report *report) {
    ssize_t sent;
    do
        sent = write(fd, report, sizeof *report);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

static int send_report(int fd, const struct shim_report *report) {
    ssize_t sent;
    do
        sent = send(fd, report, sizeof *report, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

static void fill(struct shim_report *report, const struct init *init, uint32_t kind, uint32_t call,
                 int error, const char *detail) {
    memset(report, 0, sizeof *report);
    report->kind = kind;
    report->op = init->index;
    report->call = call;
    report->error = -error;
    snprintf(report->detail, sizeof report->detail, "%s", detail ? detail : "");
    report->detail_size = (uint32_t)strlen(report->detail);
}

/* After the start nobody listens at the sync socket: the report goes into the exec fifo, where
 * `start` finds it when we have ended. */
void send_failure(struct init *init, int error) {
    struct shim_report report;
    fill(&report, init, REPORT_FAILURE, init->call, error, init->detail);
    if (!init->started) {
        /* A filter of the container's may refuse the one and not the other. */
        if (send_report(init->sync_fd, &report) < 0 &&
            write(init->sync_fd, &report, sizeof report) < 0)
            return;
    } else if (init->report_fd >= 0 && write(init->report_fd, &report, sizeof report) < 0)
        return;
}

/* A filter of the container's may refuse these calls as well, and libc's _exit(2) tries for ever.
 * An illegal instruction ends any process, the first of a pid namespace too. */
void leave(int status) {
    syscall(SYS_exit_group, status);
    syscall(SYS_exit, status);
    __builtin_trap();
}

void send_warning(struct init *init, uint32_t call, int error, const char *detail) {
    struct shim_report report;
    fill(&report, init, REPORT_WARNING, call, error, detail);
    if (init->sync_fd >= 0)
        (void)send_report(init->sync_fd, &report);
}

/* Without a word where it fails: who asked for the trace may be gone. */
static void send_trace(struct init *init, int index, const struct timespec *now) {
    struct shim_report report;
    char text[24];
    snprintf(text, sizeof text, "%lld%09ld", (long long)now->tv_sec, now->tv_nsec);
    fill(&report, init, REPORT_TRACE, CALL_NONE, 0, text);
    report.op = index;
    (void)send_report(init->sync_fd, &report);
}

/* A filter that is loaded after the start need not allow send(2): what follows it is told before,
 * with the same time. */
void trace_operation(struct init *init) {
    struct timespec now;
    if (init->sync_fd < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0)
        return;
    send_trace(init, init->index, &now);
    if (!init->started || init->op->kind != OP_LOAD_SECCOMP)
        return;
    for (int index = init->index + 1; index < (int)init->count; index++)
        send_trace(init, index, &now);
    init->traced = false;
}

static int send_with_fd(int socket_fd, struct iovec data, int fd) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* The ptmx end goes to the console socket, one message whose data is its name (as runc, whose
 * receivers read up to 4096 bytes of it), or without a socket as a REPORT_PTY to the runtime. */
int send_pty(struct init *init, int socket_fd, int pty_fd, const char *name) {
    struct shim_report report;
    struct iovec data = {(void *)(uintptr_t)name, strlen(name)};
    if (socket_fd < 0) {
        fill(&report, init, REPORT_PTY, CALL_NONE, 0, name);
        data = (struct iovec){&report, sizeof report};
        socket_fd = init->sync_fd;
    }
    int error = send_with_fd(socket_fd, data, pty_fd);
    return error ? failed(init, CALL_SEND, error, name) : 0;
}

int send_born(struct init *init, int pid, int pid_fd) {
    struct shim_report report;
    fill(&report, init, REPORT_BORN, CALL_NONE, 0, NULL);
    report.pid = pid;
    return send_with_fd(init->sync_fd, (struct iovec){&report, sizeof report}, pid_fd);
}

static ssize_t receive(int fd, void *buffer, size_t size, int flags) {
    ssize_t got;
    do
        got = recv(fd, buffer, size, flags);
    while (got < 0 && errno == EINTR);
    return got;
}

/* The descriptor that came with a message of the one byte `wanted`; -ENOENT where none did.  The
 * end of the stream means that the runtime is gone: there is nobody to tell. */
static int receive_fd(struct init *init, char wanted) {
    char word;
    int fd;
    struct iovec data = {&word, 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t size;
    do
        size = recvmsg(init->sync_fd, &message, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size == 0)
        leave(1);
    if (size < 0 || word != wanted)
        return failed(init, CALL_RECEIVE, size < 0 ? -errno : -EPROTO, NULL);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return -ENOENT;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

/* Room for a payload of that many bytes, which is more than any answer of the runtime's is. */
static int new_payload(struct init *init, off_t size) {
    free(init->payload);
    init->payload_size = 0;
    init->payload = size < 0 || size > SHIM_PLAN_MAX ? NULL : malloc((size_t)size);
    if (!init->payload)
        return failed(init, CALL_RECEIVE, -ENOMEM, "payload");
    init->payload_size = (size_t)size;
    return 0;
}

/* What is too large for a message comes as a file. */
static int read_payload(struct init *init) {
    struct stat status;
    int fd = receive_fd(init, 'F');
    if (fd < 0)
        return fd == -ENOENT ? failed(init, CALL_RECEIVE, -EPROTO, NULL) : fd;
    int error = fstat(fd, &status) < 0 ? failed(init, CALL_RECEIVE, -errno, "payload")
                                       : new_payload(init, status.st_size);
    for (size_t done = 0; !error && done < init->payload_size;) {
        ssize_t got = pread(fd, init->payload + done, init->payload_size - done, (off_t)done);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || errno != EINTR)
            error = failed(init, CALL_RECEIVE, got ? -errno : -EPROTO, "payload");
    }
    close_fd(&fd);
    return error;
}

static int await_go(struct init *init) {
    char word;
    struct iovec parts[2] = {{&word, 1}, {NULL, 0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t size = receive(init->sync_fd, &word, 1, MSG_PEEK | MSG_TRUNC);
    if (size == 0)
        leave(1);
    if (size < 0)
        return failed(init, CALL_RECEIVE, -errno, NULL);
    if (word == 'F')
        return read_payload(init);
    if (word != 'G')
        return failed(init, CALL_RECEIVE, -EPROTO, NULL);
    if (size == 1)
        return receive(init->sync_fd, &word, 1, 0) < 0 ? failed(init, CALL_RECEIVE, -errno, NULL)
                                                       : 0;
    int error = new_payload(init, size - 1);
    if (error)
        return error;
    parts[1] = (struct iovec){init->payload, init->payload_size};
    ssize_t got;
    do
        got = recvmsg(init->sync_fd, &message, 0);
    while (got < 0 && errno == EINTR);
    return got == size ? 0 : failed(init, CALL_RECEIVE, got < 0 ? -errno : -EPROTO, NULL);
}

/* The mount that the runtime has made of the source at hand; -ENOENT where there is none.  Where
 * the runtime fails, it says so itself, and ends init. */
int request_source(struct init *init) {
    struct shim_report report;
    fill(&report, init, REPORT_SOURCE, CALL_NONE, 0, NULL);
    int error = send_report(init->sync_fd, &report);
    return error ? failed(init, CALL_SEND, error, NULL) : receive_fd(init, 'M');
}

int op_stage(struct init *init, const struct shim_op_stage *op) {
    struct shim_report report;
    int error = 0;
    if (op->stage == STAGE_READY && !awaits_hooks(init)) {
        error = apply_rlimits(init);
        if (error)
            return error;
        init->limited = 0;
    }
    fill(&report, init, REPORT_STAGE, CALL_NONE, 0, NULL);
    report.stage = op->stage;
    report.listener_fd = init->listener_fd;
    error = op->stage == STAGE_SECCOMP ? write_report(init->sync_fd, &report)
                                       : send_report(init->sync_fd, &report);
    if (error)
        return failed(init, CALL_SEND, error, NULL);
    error = await_go(init);
    if (error || op->stage > STAGE_USER_IDMAP)
        return error;
    init->in_user_namespace = true;
    if (!init->traceable)
        return 0;
    init->traceable = false;
    return guard_process(init);
}

/* In Go's words, which engines grep for; only what execve(2) gives is worth a text. */
const char *error_text(int error, char buffer[24]) {
    static const struct {
        int error;
        const char *words;
    } table[] = {
        {ENOENT, "no such file or directory"},
        {EACCES, "permission denied"},
        {EPERM, "operation not permitted"},
        {ENOEXEC, "exec format error"},
        {E2BIG, "argument list too long"},
        {ETXTBSY, "text file busy"},
        {ELOOP, "too many levels of symbolic links"},
        {ENOTDIR, "not a directory"},
        {EISDIR, "is a directory"},
        {ENOMEM, "cannot allocate memory"},
        {EINVAL, "invalid argument"},
        {EIO, "input/output error"},
        {ENAMETOOLONG, "file name too long"},
        {EAGAIN, "resource temporarily unavailable"},
        {ELIBBAD, "accessing a corrupted shared library"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].error == error)
            return table[i].words;
    snprintf(buffer, 24, "errno %d", error);
    return buffer;
}
