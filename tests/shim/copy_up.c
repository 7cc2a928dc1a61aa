/* SPDX-License-Identifier: Apache-2.0
 *
 * copy_up() gives a directory's content with kinds, modes, owners, times and attributes, follows no
 * link, and leaves no descriptor.  Run in an empty directory. */
#include "check.h"
#include <sys/xattr.h>

static int from, to;

static void make_source(void) {
    CHECK(mkdir("from", 0700) == 0 && mkdir("to", 0700) == 0 && mkdir("outside", 0755) == 0);
    CHECK(mkdir("from/dir", 0755) == 0 && mkdir("from/dir/closed", 0500) == 0);
    int fd = open("from/dir/file", O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < 300000; i++)
        CHECK(write(fd, "0123456789", 10) == 10);
    CHECK(fchmod(fd, 04751) == 0);
    (void)fsetxattr(fd, "user.kind", "value", 5, 0);
    CHECK(futimens(fd, (struct timespec[2]){{1000, 0}, {2000, 0}}) == 0);
    close(fd);
    CHECK(symlink("/etc/passwd", "from/dir/link") == 0);
    CHECK(symlink("../outside", "from/out") == 0);
    CHECK(mkfifo("from/fifo", 0622) == 0);
    from = open("from", O_PATH | O_DIRECTORY);
    to = open("to", O_PATH | O_DIRECTORY);
    CHECK(from >= 0 && to >= 0);
}

static void same(const char *name) {
    char a[64], b[64];
    struct stat source, target;
    snprintf(a, sizeof a, "from/%s", name);
    snprintf(b, sizeof b, "to/%s", name);
    CHECK(lstat(a, &source) == 0 && lstat(b, &target) == 0);
    CHECK_EQUAL(target.st_mode, source.st_mode);
    CHECK_EQUAL(target.st_uid, source.st_uid);
    if (!S_ISDIR(source.st_mode))
        CHECK_EQUAL(target.st_size, source.st_size);
}

int main(void) {
    char value[16];
    struct stat status;
    umask(0);
    make_source();
    CHECK_EQUAL(copy_up(from, to), 0);
    same("dir");
    same("dir/closed");
    same("dir/file");
    same("dir/link");
    same("out");
    same("fifo");
    CHECK(lstat("to/dir/file", &status) == 0 && status.st_mtim.tv_sec == 2000);
    if (getxattr("from/dir/file", "user.kind", value, sizeof value) == 5)
        CHECK_EQUAL(getxattr("to/dir/file", "user.kind", value, sizeof value), 5);
    CHECK(stat("to", &status) == 0 && (status.st_mode & 07777) == 0700);
    /* What is there already is not overwritten. */
    CHECK_EQUAL(copy_up(from, to), -EEXIST);
    CHECK_EQUAL(open("from", O_PATH), to + 1);
    return 0;
}
