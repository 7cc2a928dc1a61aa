/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells which mount a descriptor is on.  A file of its own, since linux/stat.h, which has struct
 * statx for every libc, does not go together with sys/stat.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef STATX_MNT_ID /* Linux 5.8 */
#define STATX_MNT_ID 0x00001000U
#endif

#ifndef STATX_ATTR_MOUNT_ROOT /* Linux 5.8 */
#define STATX_ATTR_MOUNT_ROOT 0x00002000U
#endif

uint64_t mount_id(int fd);
bool is_mount_root(int fd);

/* 0 where the kernel does not tell (before Linux 5.8). */
uint64_t mount_id(int fd) {
    struct statx status;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0)
        return 0;
    return status.stx_mask & STATX_MNT_ID ? status.stx_mnt_id : 0;
}

/* True as well where the kernel does not tell (before Linux 5.8). */
bool is_mount_root(int fd) {
    struct statx status;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0, &status) < 0)
        return false;
    return !(status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) ||
           status.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}
