/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how the container gets its terminal: a pty of its own devpts, both ends taken from the
 * kernel by descriptor and never by a name in the rootfs (CVE-2025-52565). */
#include "init.h"
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

#ifndef TIOCGPTPEER /* Linux 4.13 */
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* Of every devpts: devpts_mnt's ptmx node in fs/devpts/inode.c. */
#define PTMX_INODE 2

static bool is_ptmx(int fd) {
    struct stat status;
    return is_on(fd, DEVPTS_SUPER_MAGIC) && fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
           status.st_ino == PTMX_INODE && status.st_rdev == makedev(5, 2);
}

static int open_ptmx(struct init *init) {
    static const char path[] = "/dev/pts/ptmx";
    int directory =
        resolve(init->rootfs_fd, "/dev/pts", &(struct wish){.flags = O_PATH | O_DIRECTORY});
    if (directory < 0)
        return failed(init, CALL_OPENAT2, directory, "/dev/pts");
    int fd = openat(directory, "ptmx", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int error = fd < 0 ? -errno : 0;
    if (!error && !is_ptmx(fd))
        error = failed(init, CALL_CHECK_DEVICE, -ENODEV, path);
    else if (error)
        failed(init, CALL_OPEN, error, path);
    close_fd(&fd);
    if (!error) {
        fd = openat(directory, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            error = failed(init, CALL_OPEN, -errno, path);
        else if (!is_ptmx(fd))
            error = failed(init, CALL_CHECK_DEVICE, -ENODEV, path);
    }
    close(directory);
    if (error)
        close_fd(&fd);
    return error ? error : fd;
}

static int open_pts(struct init *init, const struct shim_op_open_pty *op, int ptmx) {
    int unlocked = 0;
    struct winsize size = {.ws_row = op->rows, .ws_col = op->columns};
    if (ioctl(ptmx, TIOCSPTLCK, &unlocked) < 0)
        return failed(init, CALL_IOCTL, -errno, "TIOCSPTLCK");
    int pts = ioctl(ptmx, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pts < 0)
        return failed(init, CALL_IOCTL, -errno, "TIOCGPTPEER");
    int error = 0;
    if (op->flags & PTY_HAS_SIZE && ioctl(ptmx, TIOCSWINSZ, &size) < 0)
        error = failed(init, CALL_IOCTL, -errno, "TIOCSWINSZ");
    else if (fchown(pts, op->uid, (gid_t)-1) < 0)
        error = failed(init, CALL_CHOWN, -errno, "pts");
    if (error)
        close_fd(&pts);
    return error ? error : pts;
}

/* /dev/console must be a file of the rootfs, not a link: it is made where it is missing. */
static int bind_console(struct init *init, int pts) {
    char name[256];
    struct stat status;
    int parent = resolve_parent(init->rootfs_fd, "/dev/console", name);
    if (parent < 0)
        return failed(init, CALL_OPENAT2, parent, "/dev/console");
    int fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
    close_fd(&fd);
    fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int error = fd < 0 ? failed(init, CALL_OPEN, -errno, "/dev/console") : 0;
    close(parent);
    if (!error && fstat(fd, &status) == 0 && S_ISLNK(status.st_mode))
        error = failed(init, CALL_CHECK_SYMLINK, -ELOOP, "/dev/console");
    if (!error)
        error = bind_fd(init, pts, false, fd);
    close_fd(&fd);
    return error;
}

static int take_terminal(struct init *init, int pts) {
    if (ioctl(pts, TIOCSCTTY, 0) < 0)
        return failed(init, CALL_IOCTL, -errno, "TIOCSCTTY");
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(pts, fd) < 0)
            return failed(init, CALL_DUP, -errno, NULL);
    return 0;
}

int op_open_pty(struct init *init, const struct shim_op_open_pty *op) {
    int ptmx = open_ptmx(init);
    if (ptmx < 0)
        return ptmx;
    int pts = open_pts(init, op, ptmx);
    int error = pts < 0 ? pts : 0;
    if (!error && op->flags & PTY_BIND_CONSOLE)
        error = bind_console(init, pts);
    if (!error)
        error = send_pty(init, op->socket_fd, ptmx, "/dev/ptmx");
    if (!error)
        error = take_terminal(init, pts);
    close(ptmx);
    close_fd(&pts);
    if (op->socket_fd >= 0)
        close(op->socket_fd);
    return error;
}
