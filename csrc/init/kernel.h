/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls that musl 1.2.3 has no wrapper for, and kernel names that Linux 6.1 headers lack.
 * Every function gives the kernel's answer or -errno. */
#ifndef PYRUNC_INIT_KERNEL_H
#define PYRUNC_INIT_KERNEL_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2 /* Linux 5.6 */
#define SYS_openat2 437
#endif
#ifndef SYS_fspick /* Linux 5.2 */
#define SYS_fspick 433
#endif
#ifndef SYS_mount_setattr /* Linux 5.12 */
#define SYS_mount_setattr 442
#endif
#ifndef CLOSE_RANGE_CLOEXEC /* Linux 5.11 */
#define CLOSE_RANGE_CLOEXEC 4U
#endif
#ifndef AT_RECURSIVE /* Linux 5.2 */
#define AT_RECURSIVE 0x8000
#endif
#ifndef MS_LAZYTIME /* Linux 4.0 */
#define MS_LAZYTIME (1 << 25)
#endif
#ifndef MS_NOSYMFOLLOW /* Linux 5.10 */
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW /* Linux 5.14 */
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef CLONE_NEWTIME /* Linux 5.6 */
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_PIDFD /* Linux 5.2 */
#define CLONE_PIDFD 0x00001000
#endif
#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif
#ifndef DEVPTS_SUPER_MAGIC
#define DEVPTS_SUPER_MAGIC 0x1cd1
#endif

static inline int answer(long value) { return value < 0 ? -errno : (int)value; }

static inline int kernel_openat2(int dir_fd, const char *path, const struct open_how *how) {
    return answer(syscall(SYS_openat2, dir_fd, path, how, sizeof *how));
}

static inline int kernel_open_tree(int dir_fd, const char *path, unsigned flags) {
    return answer(syscall(SYS_open_tree, dir_fd, path, flags));
}

static inline int kernel_move_mount(int mount_fd, int target_fd) {
    return answer(syscall(SYS_move_mount, mount_fd, "", target_fd, "",
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

static inline int kernel_fsopen(const char *type) {
    return answer(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

static inline int kernel_fspick(int fd) {
    return answer(syscall(SYS_fspick, fd, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC));
}

static inline int kernel_fsconfig(int fs_fd, unsigned command, const char *key, const char *value) {
    return answer(syscall(SYS_fsconfig, fs_fd, command, key, value, 0));
}

static inline int kernel_fsmount(int fs_fd, unsigned attributes) {
    return answer(syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, attributes));
}

static inline int kernel_mount_setattr(int fd, unsigned flags, const struct mount_attr *attr) {
    return answer(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags, attr, sizeof *attr));
}

static inline int kernel_close_range(unsigned first, unsigned last, unsigned flags) {
    return answer(syscall(SYS_close_range, first, last, flags));
}

static inline int kernel_memfd_create(const char *name, unsigned flags) {
    return answer(syscall(SYS_memfd_create, name, flags));
}

static inline int kernel_pidfd_open(int pid) { return answer(syscall(SYS_pidfd_open, pid, 0)); }
#endif
