// SPDX-License-Identifier: Apache-2.0
/* Decides where CRIU finds the root file system that it restores into: as a mount of its own, which
 * CRIU demands, in a mount namespace that nobody else sees.  It must not choose the directory. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

int shim_enter_restore_root(const char *rootfs) {
    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    /* A slave still gets what the host mounts meanwhile, and gives nothing back. */
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return -errno;
    if (mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL) < 0)
        return -errno;
    return 0;
}
