/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel names that the oldest supported kernel headers (Debian 12: Linux 6.1) lack, each with the
 * version that brought it. Values come from the kernel's uapi headers. Include it after the headers
 * it completes. */
#ifndef PYRUNC_KERNEL_COMPAT_H
#define PYRUNC_KERNEL_COMPAT_H

/* Linux 6.3, linux/fcntl.h and linux/memfd.h */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* Linux 6.9, linux/mempolicy.h: an enumerator there, so that this must not be seen before it */
#define MPOL_WEIGHTED_INTERLEAVE 6

/* Linux 5.10, linux/pidfd.h, which cannot be included beside fcntl.h */
#ifndef PIDFD_NONBLOCK
#define PIDFD_NONBLOCK O_NONBLOCK
#endif

/* Linux 6.9, linux/pidfd.h */
#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif

#endif
