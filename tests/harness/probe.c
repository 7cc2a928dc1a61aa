/*
 * Runs as the container process of tests and reports facts; runs on the host as the racing
 * attacker. Static, needs nothing of the root filesystem it runs in.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The number: musl has no names, and the harness knows them. */
static const char *error_text(void) {
    static char text[24];

    snprintf(text, sizeof(text), "errno %d", errno);
    return text;
}

static void put_string(const char *text, ssize_t length) {
    if (text == NULL) {
        fputs("null", stdout);
        return;
    }
    if (length < 0)
        length = (ssize_t)strlen(text);
    putchar('"');
    for (ssize_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void put_file(const char *key, const char *path) {
    static char buffer[1 << 18];
    size_t used = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    printf(",\"%s\":", key);
    if (fd < 0) {
        fputs("null", stdout);
        return;
    }
    while (used < sizeof(buffer) && (got = read(fd, buffer + used, sizeof(buffer) - used)) > 0)
        used += (size_t)got;
    close(fd);
    put_string(buffer, (ssize_t)used);
}

static void put_link(const char *path) {
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target));

    put_string(length < 0 ? NULL : target, length);
}

static void put_fds(void) {
    char path[64];
    const char *separator = "";

    fputs(",\"fds\":{", stdout);
    for (int fd = 0; fd < 4096; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        printf("%s\"%d\":", separator, fd);
        put_link(path);
        separator = ",";
    }
    putchar('}');
}

static void put_limits(void) {
    static const struct {
        const char *name;
        int resource;
    } limits[] = {{"RLIMIT_AS", RLIMIT_AS},          {"RLIMIT_CORE", RLIMIT_CORE},
                  {"RLIMIT_CPU", RLIMIT_CPU},        {"RLIMIT_DATA", RLIMIT_DATA},
                  {"RLIMIT_FSIZE", RLIMIT_FSIZE},    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                  {"RLIMIT_NPROC", RLIMIT_NPROC},    {"RLIMIT_STACK", RLIMIT_STACK},
                  {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}};
    struct rlimit limit;

    fputs(",\"rlimits\":{", stdout);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        getrlimit(limits[i].resource, &limit);
        printf("%s\"%s\":[%lld,%lld]", i ? "," : "", limits[i].name, (long long)limit.rlim_cur,
               (long long)limit.rlim_max);
    }
    putchar('}');
}

static void put_namespaces(void) {
    static const char *const names[] = {"cgroup", "ipc",  "mnt", "net",
                                        "pid",    "user", "uts", "time"};
    char path[64];

    fputs(",\"namespaces\":{", stdout);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
        printf("%s\"%s\":", i ? "," : "", names[i]);
        put_link(path);
    }
    putchar('}');
}

static int facts(int argc, char **argv) {
    uid_t uid[3];
    gid_t gid[3], groups[1024];
    char cwd[PATH_MAX];
    struct utsname uts;
    struct winsize size = {0};
    mode_t mask = umask(0);
    int count = getgroups(1024, groups);

    umask(mask);
    getresuid(&uid[0], &uid[1], &uid[2]);
    getresgid(&gid[0], &gid[1], &gid[2]);
    uname(&uts);
    printf("{\"pid\":%d,\"ppid\":%d,\"sid\":%d,\"pgid\":%d", getpid(), getppid(), getsid(0),
           getpgrp());
    printf(",\"uid\":[%u,%u,%u],\"gid\":[%u,%u,%u],\"groups\":[", uid[0], uid[1], uid[2], gid[0],
           gid[1], gid[2]);
    for (int i = 0; i < count; i++)
        printf("%s%u", i ? "," : "", groups[i]);
    fputs("],\"cwd\":", stdout);
    put_string(syscall(SYS_getcwd, cwd, sizeof(cwd)) > 0 ? cwd : NULL, -1);
    fputs(",\"argv\":[", stdout);
    for (int i = 0; i < argc; i++) {
        if (i)
            putchar(',');
        put_string(argv[i], -1);
    }
    fputs("],\"env\":[", stdout);
    for (char **entry = environ; *entry; entry++) {
        if (entry != environ)
            putchar(',');
        put_string(*entry, -1);
    }
    printf("],\"umask\":%u,\"hostname\":", mask);
    put_string(uts.nodename, -1);
    fputs(",\"domainname\":", stdout);
    put_string(uts.domainname, -1);
    printf(",\"tty\":%s", ioctl(0, TIOCGWINSZ, &size) == 0 ? "true" : "false");
    printf(",\"rows\":%d,\"columns\":%d", size.ws_row, size.ws_col);
    put_fds();
    put_limits();
    put_namespaces();
    put_file("status", "/proc/self/status");
    put_file("mountinfo", "/proc/self/mountinfo");
    put_file("cgroup", "/proc/self/cgroup");
    put_file("oom_score_adj", "/proc/self/oom_score_adj");
    put_file("loginuid", "/proc/self/sessionid");
    puts("}");
    return fflush(stdout) != 0;
}

static void on_signal(int number) {
    char line[32];
    int length = snprintf(line, sizeof(line), "signal %d\n", number);

    if (write(1, line, (size_t)length) < 0)
        _exit(9);
    if (number == SIGTERM || number == SIGINT)
        _exit(0);
}

/* Says "ready", answers every signal with a line, ends with 0 on SIGTERM and SIGINT. */
__attribute__((noreturn)) static void wait_for_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};

    for (int number = 1; number < 32; number++)
        if (number != SIGCHLD)
            sigaction(number, &action, NULL);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

static void *go_on(void *unused) {
    (void)unused;
    puts("left");
    fflush(stdout);
    for (;;)
        pause();
}

/* The first thread ends, and another one goes on. */
static int leave(void) {
    pthread_t thread;

    if (pthread_create(&thread, NULL, go_on, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}

/* open PATH r|w|rw: "ok" or the number of the error. */
static int try_open(const char *path, const char *mode) {
    int flags = strcmp(mode, "r") == 0 ? O_RDONLY : strcmp(mode, "w") == 0 ? O_WRONLY : O_RDWR;
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY);

    printf("%s\n", fd >= 0 ? "ok" : error_text());
    return 0;
}

static int try_mknod(char kind, unsigned int major_number, unsigned int minor_number,
                     const char *path) {
    mode_t type = kind == 'b' ? S_IFBLK : S_IFCHR;

    printf("%s\n", mknod(path, type | 0600, makedev(major_number, minor_number)) == 0
                       ? "ok"
                       : error_text());
    return 0;
}

static int try_syscall(long number) {
    long got = syscall(number, 0, 0, 0, 0, 0, 0);

    printf("%s\n", got >= 0 ? "ok" : error_text());
    return 0;
}

static int keyring(void) {
    char description[256] = "";
    long serial =
        syscall(SYS_keyctl, 0L, -3L, 0L); /* KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING */
    long got =
        serial < 0 ? serial : syscall(SYS_keyctl, 6L, serial, description, sizeof(description) - 1);

    printf("%ld %s\n", serial, got < 0 ? error_text() : description);
    return 0;
}

static int exchange(const char *one, const char *other, long count) {
    for (long i = 0; count <= 0 || i < count; i++)
        if (syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2) < 0) /* RENAME_EXCHANGE */
            return 1;
    return 0;
}

/* Tries for some seconds to open PATH for writing; tells whether it ever could. */
static int attack_open(const char *path, long milliseconds) {
    struct timespec now, end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += milliseconds / 1000;
    do {
        int fd = open(path, O_WRONLY | O_NONBLOCK);

        if (fd >= 0) {
            puts("opened");
            return 0;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec);
    printf("refused %s\n", error_text());
    return 0;
}

static int file_system(const char *path) {
    struct statfs buffer;

    if (statfs(path, &buffer) < 0)
        printf("%s\n", error_text());
    else
        printf("%lx\n", (unsigned long)buffer.f_type);
    return 0;
}

/* Prints a line once. */
static void tell(const char *kind, const char *text) {
    static char told[4096][160];
    static int count;
    char line[160];

    snprintf(line, sizeof(line), "%s %s", kind, text);
    for (int i = 0; i < count; i++)
        if (strcmp(told[i], line) == 0)
            return;
    if (count < 4096)
        strcpy(told[count++], line);
    puts(line);
    fflush(stdout);
}

/* Whether an open file is on a mount of this mount namespace. */
static bool is_inside(int fd) {
    char path[64], line[1024];
    long wanted = -1, found;
    bool inside = false;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        sscanf(line, "mnt_id: %ld", &wanted);
    if (file)
        fclose(file);
    file = fopen("/proc/self/mountinfo", "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "%ld", &found) == 1 && found == wanted)
            inside = true;
    if (file)
        fclose(file);
    return inside;
}

/* What is held cannot change between one look and the next. */
static void look_at(const char *process, const char *name) {
    char path[600], target[PATH_MAX];
    ssize_t length;
    int held;

    snprintf(path, sizeof(path), "/proc/%s/%s", process, name);
    held = open(path, O_PATH);
    if (held < 0)
        return;
    if (strcmp(name, "exe") == 0) {
        int fd = open(path, O_WRONLY);

        if (fd >= 0)
            tell("writable", "executable");
        if (fd >= 0)
            close(fd);
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
    length = readlink(path, target, sizeof(target) - 1);
    target[length < 0 ? 0 : length] = '\0';
    if (is_inside(held))
        tell("place", "inside");
    else
        tell(strncmp(name, "fd/", 3) == 0 ? "fd" : name, target);
    close(held);
}

/* Looks through /proc at every process but itself and the first one, as fast as it can. */
__attribute__((noreturn)) static void hunt(void) {
    char own[16], name[300];

    snprintf(own, sizeof(own), "%d", getpid());
    puts("ready");
    fflush(stdout);
    for (;;) {
        DIR *directory = opendir("/proc");
        struct dirent *entry;

        while (directory && (entry = readdir(directory))) {
            if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
                strcmp(entry->d_name, own) == 0 || strcmp(entry->d_name, "1") == 0)
                continue;
            look_at(entry->d_name, "root");
            look_at(entry->d_name, "cwd");
            look_at(entry->d_name, "exe");
            for (int fd = 0; fd < 24; fd++) {
                snprintf(name, sizeof(name), "fd/%d", fd);
                look_at(entry->d_name, name);
            }
        }
        if (directory)
            closedir(directory);
    }
}

/* notify TEXT...: each is sent to NOTIFY_SOCKET, a ";" in it as a line end; "ok" or the error. */
static int notify(char **texts) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path ? path : "");
    for (; *texts; texts++) {
        for (char *c = *texts; *c; c++)
            if (*c == ';')
                *c = '\n';
        if (sendto(fd, *texts, strlen(*texts), 0, (struct sockaddr *)&address, sizeof(address)) <
            0) {
            printf("%s\n", error_text());
            return 1;
        }
    }
    puts("ok");
    return 0;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "facts";

    if (strcmp(verb, "facts") == 0)
        return facts(argc, argv);
    if (strcmp(verb, "wait") == 0)
        wait_for_signals();
    if (strcmp(verb, "leave") == 0)
        return leave();
    if (strcmp(verb, "exit") == 0)
        return atoi(argv[2]);
    if (strcmp(verb, "die") == 0)
        return raise(atoi(argv[2]));
    if (strcmp(verb, "open") == 0)
        return try_open(argv[2], argv[3]);
    if (strcmp(verb, "mknod") == 0)
        return try_mknod(argv[2][0], (unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]),
                         argv[5]);
    if (strcmp(verb, "syscall") == 0)
        return try_syscall(atol(argv[2]));
    if (strcmp(verb, "keyring") == 0)
        return keyring();
    if (strcmp(verb, "exchange") == 0)
        return exchange(argv[2], argv[3], argc > 4 ? atol(argv[4]) : 0);
    if (strcmp(verb, "attack-open") == 0)
        return attack_open(argv[2], atol(argv[3]));
    if (strcmp(verb, "hunt") == 0)
        hunt();
    if (strcmp(verb, "notify") == 0)
        return notify(argv + 2);
    if (strcmp(verb, "lock") == 0)
        return flock(atoi(argv[2]), LOCK_EX | LOCK_NB) < 0;
    if (strcmp(verb, "statfs") == 0)
        return file_system(argv[2]);
    fprintf(stderr, "unknown verb %s\n", verb);
    return 125;
}
