/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides how the container's process is scheduled: processor, input and output, memory nodes, and
 * what kind of system it takes this one for. */
#include "init.h"
#include <linux/ioprio.h>
#include <sys/personality.h>

/* struct sched_attr of linux/sched/types.h, which collides with musl's sched.h: sched_setattr(2).
 */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

int op_set_scheduler(struct init *init, const struct shim_op_set_scheduler *op) {
    struct attributes attributes = {
        .size = sizeof attributes,
        .policy = op->policy,
        .flags = op->flags,
        .nice = op->nice,
        .priority = op->priority,
        .runtime = op->runtime,
        .deadline = op->deadline,
        .period = op->period,
    };
    if (syscall(SYS_sched_setattr, 0, &attributes, 0) < 0)
        return failed(init, CALL_SCHED_SETATTR, -errno, NULL);
    return 0;
}

int op_set_io_priority(struct init *init, const struct shim_op_set_io_priority *op) {
    if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, op->value) < 0)
        return failed(init, CALL_IOPRIO_SET, -errno, NULL);
    return 0;
}

/* The kernel reads one bit less than it is told (set_mempolicy(2), "C library/kernel differences").
 */
int op_set_memory_policy(struct init *init, const struct shim_op_set_memory_policy *op) {
    const void *nodes = op->nodes.size ? init->plan + op->nodes.offset : NULL;
    unsigned long bits = op->nodes.size ? op->nodes.size * 8UL + 1 : 0;
    if (syscall(SYS_set_mempolicy, op->mode, nodes, bits) < 0)
        return failed(init, CALL_SET_MEMPOLICY, -errno, NULL);
    return 0;
}

int op_set_personality(struct init *init, const struct shim_op_set_personality *op) {
    if (syscall(SYS_personality, (unsigned long)op->value) < 0)
        return failed(init, CALL_PERSONALITY, -errno, NULL);
    return 0;
}

int op_set_affinity(struct init *init, const struct shim_op_set_affinity *op) {
    int error = answer(
        syscall(SYS_sched_setaffinity, 0, op->processors.size, init->plan + op->processors.offset));
    return error < 0 ? failed(init, CALL_SCHED_SETAFFINITY, error, NULL) : 0;
}
