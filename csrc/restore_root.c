// SPDX-License-Identifier: Apache-2.0
/* Decides what is done with mounts for CRIU's sake: the root file system that it restores into is
 * made a mount of its own, in a mount namespace that nobody else sees; a restored root is read-only
 * again, and no_new_privs holds, both of which it forgets; superblock flags that it has cleared are
 * set again.  It must not choose the directory, nor the flags. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

int shim_enter_restore_root(const char *rootfs) {
    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    /* A slave still gets what the host mounts meanwhile, and gives nothing back. */
    if (syscall(SYS_mount, NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return -errno;
    if (syscall(SYS_mount, rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL) < 0)
        return -errno;
    return 0;
}

int shim_make_root_readonly(int mount_ns_fd) {
    const unsigned long same = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME;
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY;
    struct statvfs root;

    if (setns(mount_ns_fd, CLONE_NEWNS) < 0 || statvfs("/", &root) < 0)
        return -errno;
    /* Those of statvfs(3) have the numbers of mount(2), but relatime. */
    flags |= root.f_flag & same;
    if (root.f_flag & ST_RELATIME)
        flags |= MS_RELATIME;
    return syscall(SYS_mount, NULL, "/", NULL, flags, NULL) < 0 ? -errno : 0;
}

int shim_set_no_new_privs(void) {
    sigset_t none;

    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return -errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int shim_set_superblock_flags(const char *mount_point, const char *flags) {
    char name[64];
    int fd = (int)syscall(SYS_fspick, AT_FDCWD, mount_point, FSPICK_CLOEXEC), result = 0;

    if (fd < 0)
        return -errno;
    while (*flags && result == 0) {
        size_t length = strcspn(flags, ",");

        if (length < sizeof(name)) {
            memcpy(name, flags, length);
            name[length] = '\0';
            if (syscall(SYS_fsconfig, fd, FSCONFIG_SET_FLAG, name, NULL, 0) < 0)
                result = -errno;
        }
        flags += length + (flags[length] == ',');
    }
    if (result == 0 && syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
        result = -errno;
    close(fd);
    return result;
}
