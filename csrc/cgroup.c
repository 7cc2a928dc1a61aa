/* SPDX-License-Identifier: Apache-2.0
 *
 * Device programs of cgroup v2: bpf(2) has no wrapper in libc. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel allows 64 programs on a cgroup (BPF_CGROUP_MAX_PROGS). */
#define PROGRAMS_MAX 64

static int bpf(int command, union bpf_attr *attr) {
    long result = syscall(SYS_bpf, command, attr, sizeof *attr);

    return result < 0 ? -errno : (int)result;
}

static int load(const void *program, size_t size) {
    static const char license[] = "Apache-2.0";
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uintptr_t)program;
    attr.insn_cnt = (uint32_t)(size / sizeof(struct bpf_insn));
    attr.license = (uintptr_t)license;
    return bpf(BPF_PROG_LOAD, &attr);
}

/* Before Linux 5.11 programs count as locked memory, and the usual limit of 64 KiB is soon used up.
 */
static int load_with_memory(const void *program, size_t size) {
    struct rlimit before, unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    int fd = load(program, size);

    if (fd != -EPERM || getrlimit(RLIMIT_MEMLOCK, &before) || setrlimit(RLIMIT_MEMLOCK, &unlimited))
        return fd;
    fd = load(program, size);
    (void)setrlimit(RLIMIT_MEMLOCK, &before);
    return fd;
}

static int attach(int cgroup_fd, int program_fd, int replaced_fd) {
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup_fd;
    attr.attach_bpf_fd = (uint32_t)program_fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced_fd >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)replaced_fd;
    }
    return bpf(BPF_PROG_ATTACH, &attr);
}

static int detach(int cgroup_fd, int program_fd) {
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup_fd;
    attr.attach_bpf_fd = (uint32_t)program_fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    return bpf(BPF_PROG_DETACH, &attr);
}

static int query(int cgroup_fd, uint32_t *ids, uint32_t *count) {
    union bpf_attr attr;
    int error;

    memset(&attr, 0, sizeof attr);
    attr.query.target_fd = (uint32_t)cgroup_fd;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = (uintptr_t)ids;
    attr.query.prog_cnt = PROGRAMS_MAX;
    error = bpf(BPF_PROG_QUERY, &attr);
    *count = error ? 0 : attr.query.prog_cnt;
    return error;
}

static int open_program(uint32_t id) {
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.prog_id = id;
    return bpf(BPF_PROG_GET_FD_BY_ID, &attr);
}

/* All programs of a cgroup must agree, so a new one beside the old ones could only take away: one
 * old program is replaced in one step (Linux 5.6), of several each is detached once the new one is
 * there. */
static int attach_instead(int cgroup_fd, int program_fd, const uint32_t *ids, uint32_t count) {
    int old_fd, error = -EINVAL;
    uint32_t i;

    if (count == 1) {
        old_fd = open_program(ids[0]);
        if (old_fd < 0)
            return old_fd;
        error = attach(cgroup_fd, program_fd, old_fd);
        close(old_fd);
    }
    if (error != -EINVAL)
        return error;
    error = attach(cgroup_fd, program_fd, -1);
    for (i = 0; i < count && !error; i++) {
        old_fd = open_program(ids[i]);
        if (old_fd < 0)
            return old_fd;
        error = detach(cgroup_fd, old_fd);
        close(old_fd);
    }
    return error;
}

int shim_attach_device_program(int cgroup_fd, const void *program, size_t size) {
    uint32_t ids[PROGRAMS_MAX], count;
    int program_fd, error;

    if (size % sizeof(struct bpf_insn))
        return -EINVAL;
    program_fd = load_with_memory(program, size);
    if (program_fd < 0)
        return program_fd;
    error = query(cgroup_fd, ids, &count);
    if (!error)
        error = count ? attach_instead(cgroup_fd, program_fd, ids, count)
                      : attach(cgroup_fd, program_fd, -1);
    close(program_fd);
    return error;
}
