/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever the links of a rootfs say, and however its directories are swapped meanwhile, a path
 * leads to something in the rootfs or to an error, by openat2(2) and by the walk alike.  Run in an
 * empty directory. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

typedef int resolver(int root_fd, const char *path, const struct wish *wish);

static int root_fd;
static const struct wish plain = {.flags = O_PATH};

static void make_file(const char *path) {
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd >= 0);
    close(fd);
}

static void make_farm(void) {
    CHECK(mkdir("outside", 0755) == 0 && mkdir("root", 0755) == 0);
    make_file("outside/secret");
    CHECK(mkdir("root/dir", 0755) == 0 && mkdir("root/dir/sub", 0755) == 0);
    make_file("root/file");
    make_file("root/dir/sub/deep");
    CHECK(symlink("/dir/sub", "root/absolute") == 0);
    CHECK(symlink("dir/sub", "root/relative") == 0);
    CHECK(symlink("../../../../dir", "root/dir/up") == 0);
    CHECK(symlink("../outside", "root/escape") == 0);
    CHECK(symlink("../../../../../../../../..", "root/far") == 0);
    CHECK(symlink("loop", "root/loop") == 0);
    CHECK(symlink("/absolute/deep", "root/chain") == 0);
    CHECK(symlink("nowhere/at/all", "root/dangling") == 0);
    CHECK(symlink(".", "root/dot") == 0);
    root_fd = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(root_fd >= 0);
}

static const struct {
    const char *path;
    const char *leads_to; /* from here, or NULL */
    int error;
} cases[] = {
    {"/", "root", 0},
    {"", "root", 0},
    {".", "root", 0},
    {"//dir//sub///", "root/dir/sub", 0},
    {"dir/./sub/..", "root/dir", 0},
    {"..", "root", 0},
    {"../../..", "root", 0},
    {"/../outside/secret", NULL, -ENOENT},
    {"absolute", "root/dir/sub", 0},
    {"absolute/deep", "root/dir/sub/deep", 0},
    {"relative/../up/sub", "root/dir/sub", 0},
    {"dir/up", "root/dir", 0},
    {"escape/secret", NULL, -ENOENT},
    {"far", "root", 0},
    {"far/dir", "root/dir", 0},
    {"chain", "root/dir/sub/deep", 0},
    {"loop", NULL, -ELOOP},
    {"dangling", NULL, -ENOENT},
    {"dot/dot/dot/file", "root/file", 0},
    {"file/x", NULL, -ENOTDIR},
    {"file/..", NULL, -ENOTDIR},
    {"dir/nothing", NULL, -ENOENT},
};

static bool is_same(int fd, const char *path) {
    struct stat a, b;
    CHECK(fstat(fd, &a) == 0);
    CHECK(lstat(path, &b) == 0);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void test_farm(resolver *resolves) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = resolves(root_fd, cases[i].path, &plain);
        if ((fd < 0 ? fd : 0) != cases[i].error) {
            fprintf(stderr, "%s: %d, not %d\n", cases[i].path, fd, cases[i].error);
            exit(1);
        }
        if (fd < 0)
            continue;
        CHECK(is_same(fd, cases[i].leads_to));
        close(fd);
    }
}

static void test_restrictions(resolver *resolves) {
    struct wish real = {.flags = O_PATH | O_DIRECTORY, .restrictions = RESOLVE_NO_SYMLINKS};
    CHECK_EQUAL(resolves(root_fd, "relative", &real), -ELOOP);
    CHECK_EQUAL(resolves(root_fd, "dot/dir", &real), -ELOOP);
    CHECK_EQUAL(resolves(root_fd, "file", &real), -ENOTDIR);
    real.missing = MISSING_DIR;
    real.mode = 0755;
    CHECK_EQUAL(resolves(root_fd, "escape/new", &real), -ELOOP);
    int fd = resolves(root_fd, "dir/sub", &real);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    close(fd);
    fd = resolves(root_fd, "chain", &(struct wish){.flags = O_RDONLY});
    CHECK(fd >= 0 && is_same(fd, "root/dir/sub/deep"));
    CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_PATH)) == O_RDONLY);
    close(fd);
}

static void test_long(resolver *resolves) {
    char path[8192];
    memset(path, 'x', sizeof path);
    path[300] = '\0';
    CHECK_EQUAL(resolves(root_fd, path, &plain), -ENAMETOOLONG);
    memset(path, '/', sizeof path);
    path[sizeof path - 1] = '\0';
    CHECK_EQUAL(resolves(root_fd, path, &plain), -ENAMETOOLONG);
}

/* Components are made where links lead to, which is in the rootfs. */
static void test_make(resolver *resolves, const char *name) {
    char path[64], place[64];
    struct stat status;
    bool created = false;
    struct wish wish = {
        .flags = O_PATH, .missing = MISSING_FILE, .mode = 0640, .created = &created};
    snprintf(path, sizeof path, "escape/%s/a/b", name);
    snprintf(place, sizeof place, "root/outside/%s/a/b", name);
    int fd = resolves(root_fd, path, &wish);
    CHECK(fd >= 0 && created && is_same(fd, place));
    CHECK(fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0777) == 0640);
    close(fd);
    created = false;
    fd = resolves(root_fd, path, &wish);
    CHECK(fd >= 0 && !created && is_same(fd, place));
    close(fd);
    snprintf(path, sizeof path, "outside/%s", name);
    CHECK(access(path, F_OK) < 0);
    wish.missing = MISSING_DIR;
    snprintf(path, sizeof path, "dangling/%s", name);
    fd = resolves(root_fd, path, &wish);
    snprintf(place, sizeof place, "root/nowhere/at/all/%s", name);
    CHECK(fd >= 0 && is_same(fd, place));
    close(fd);
    CHECK_EQUAL(resolves(root_fd, "file/x/y", &wish), -ENOTDIR);
}

static void test_parent(void) {
    char last[256];
    int fd = resolve_parent(root_fd, "/escape/fresh//name/", last);
    CHECK(fd >= 0 && strcmp(last, "name") == 0 && is_same(fd, "root/outside/fresh"));
    close(fd);
    fd = resolve_parent(root_fd, "name", last);
    CHECK(fd >= 0 && is_same(fd, "root"));
    close(fd);
    CHECK_EQUAL(resolve_parent(root_fd, "/", last), -EINVAL);
    CHECK_EQUAL(resolve_parent(root_fd, "/dir/..", last), -EINVAL);
    CHECK_EQUAL(resolve_parent(root_fd, "/dir/.", last), -EINVAL);
}

/* Links of procfs that are no paths. */
static void test_magic(resolver *resolves) {
    static const char *const names[] = {"self/root", "self/cwd", "self/exe", "self/fd/0"};
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct wish making = {.flags = O_PATH, .missing = MISSING_DIR, .mode = 0755};
    CHECK(proc >= 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_EQUAL(resolves(proc, names[i], &plain), -ELOOP);
        CHECK_EQUAL(resolves(proc, names[i], &making), -ELOOP);
    }
    int fd = resolves(proc, "self/status", &plain);
    CHECK(fd >= 0);
    close(fd);
    close(proc);
}

static atomic_bool stop;

/* Swaps a directory and a link to the outside, and moves another out of the rootfs and back. */
static void *swap(void *nothing) {
    while (!atomic_load(&stop)) {
        syscall(SYS_renameat2, AT_FDCWD, "root/race/a", AT_FDCWD, "root/race/b", 2 /* EXCHANGE */);
        if (rename("root/race/deep/er", "outside/er") == 0)
            CHECK(rename("outside/er", "root/race/deep/er") == 0);
    }
    return nothing;
}

static bool is_outside(int fd) {
    char link[64], path[4096], top[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    CHECK(size > 0 && getcwd(top, sizeof top - 16));
    path[size] = '\0';
    strcat(top, "/root");
    return strncmp(path, top, strlen(top)) != 0;
}

/* The directory that was moved out is the rootfs's own: to reach it there is no escape, to reach
 * what is above is. */
static void test_race(resolver *resolves, int rounds) {
    static const char *const paths[] = {"race/a/secret", "race/b/secret", "race/a/new",
                                        "race/deep/er/../../../../../outside/secret",
                                        "race/deep/er/../x/../../a/made"};
    struct wish making = {.flags = O_PATH, .missing = MISSING_FILE, .mode = 0644};
    struct stat secret, found;
    pthread_t thread;
    CHECK(stat("outside/secret", &secret) == 0);
    atomic_store(&stop, false);
    CHECK(pthread_create(&thread, NULL, swap, NULL) == 0);
    for (int round = 0; round < rounds; round++) {
        const char *path = paths[round % 5];
        int fd = resolves(root_fd, path, round % 2 ? &making : &plain);
        if (fd < 0)
            continue;
        CHECK(fstat(fd, &found) == 0 && found.st_ino != secret.st_ino);
        if (!strstr(path, "deep"))
            CHECK(!is_outside(fd));
        close(fd);
    }
    atomic_store(&stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(access("outside/new", F_OK) < 0 && access("outside/made", F_OK) < 0);
    CHECK(access("outside/race", F_OK) < 0 && access("outside/x", F_OK) < 0);
}

static int count_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int main(void) {
    umask(0);
    CHECK(freopen("/dev/null", "r", stdin));
    make_farm();
    CHECK(mkdir("root/race", 0755) == 0 && mkdir("root/race/a", 0755) == 0);
    CHECK(mkdir("root/race/deep", 0755) == 0 && mkdir("root/race/deep/er", 0755) == 0);
    CHECK(symlink("../../outside", "root/race/b") == 0);
    int before = count_fds();
    resolver *const resolvers[] = {resolve, resolve_walk};
    for (int i = 0; i < 2; i++)
        test_farm(resolvers[i]);
    for (int i = 0; i < 2; i++) {
        test_restrictions(resolvers[i]);
        test_long(resolvers[i]);
        test_magic(resolvers[i]);
        test_make(resolvers[i], i ? "walk" : "openat2");
        test_race(resolvers[i], 20000);
    }
    test_parent();
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
