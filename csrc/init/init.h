/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of pyrunc-init share.  Init carries a checked plan out; it has no policy, only
 * fallbacks by errno.  Trusted: the plan, and the runtime's mount namespace until the pivot.
 * Hostile: everything in the rootfs, at any instant.  Hence every path in the rootfs goes through
 * resolve.c, and what was reached is held by a descriptor and verified through it.
 *
 * Functions give 0 (or a descriptor) or -errno. */
#ifndef PYRUNC_INIT_H
#define PYRUNC_INIT_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../shim.h"
#include "kernel.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

struct init {
    const unsigned char *plan;
    size_t plan_size;
    const struct shim_op *op; /* the one at hand */
    int index;                /* of it, -1 before the first */
    uint32_t count;           /* of operations */
    int sync_fd;
    int proc_fd;     /* the runtime's procfs, O_PATH, or -1; gone before the wait for start */
    int rootfs_fd;   /* O_PATH; "/" of the container after the pivot */
    int null_fd;     /* the container's verified /dev/null, O_PATH, or -1 */
    int mask_fd;     /* the empty tmpfs over masked directories, attached, or -1 */
    int listener_fd; /* of the seccomp filter, or -1 */
    int report_fd;   /* where a failure goes after the start: exec.fifo, or -1 */
    bool started;
    bool traced;
    bool traceable; /* until STAGE_USER_IDMAP is over */
    bool in_user_namespace;
    const char *cwd; /* where CHANGE_DIR has got to, or NULL */
    char **environment;
    char *executable;
    struct {
        uint64_t soft, hard;
    } limits[RLIM_NLIMITS]; /* what apply_rlimits() sets, by RLIMIT_* */
    uint32_t limited;       /* bit N: resource N is to be set still */
    unsigned char *payload; /* of the last answer of the runtime */
    size_t payload_size;
    uint32_t call; /* enum shim_call of the first failure */
    char detail[SHIM_DETAIL_MAX];
};

/* check.c */
int check_plan(const unsigned char *plan, size_t size, int *index);

/* report.c */
int failed(struct init *init, uint32_t call, int error, const char *detail);
void send_failure(struct init *init, int error);
_Noreturn void leave(int status);
void trace_operation(struct init *init);
void send_warning(struct init *init, uint32_t call, int error, const char *detail);
int send_pty(struct init *init, int socket_fd, int pty_fd, const char *name);
int send_born(struct init *init, int pid, int pid_fd);
int op_stage(struct init *init, const struct shim_op_stage *op);
int request_source(struct init *init);
const char *error_text(int error, char buffer[24]);

/* resolve.c */
enum missing {
    MISSING_IS_ERROR,
    MISSING_DIR,
    MISSING_FILE
};

struct wish {
    int flags;             /* of open(2), O_CLOEXEC is implied */
    uint64_t restrictions; /* RESOLVE_NO_SYMLINKS or 0 */
    enum missing missing;  /* what to make of the last component; directories before it */
    mode_t mode;
    bool *created;
};

int resolve(int root_fd, const char *path, const struct wish *wish);
int resolve_walk(int root_fd, const char *path, const struct wish *wish);
int resolve_path(int root_fd, const char *path);
int resolve_parent(int root_fd, const char *path, char last[256]);

/* proc.c */
void open_proc(struct init *init);
int open_in_proc(struct init *init, const char *path, int flags, uint64_t restrictions);
int write_in_proc(struct init *init, const char *path, const char *text);
bool is_on(int fd, unsigned long magic);

/* attach.c */
struct target {
    int fd; /* O_PATH, or -1: to be skipped */
    bool created;
    bool nofollow; /* the path itself leads there, whether or not it is a symbolic link */
};

int open_target(struct init *init, const char *path, uint32_t flags, enum missing missing,
                struct target *target);
int attach(struct init *init, int mount_fd, const struct target *target, const char *path);
int read_attributes(int fd, uint64_t *attributes);
int mount_on(struct init *init, const char *source, int target_fd, const char *type,
             unsigned long flags, const char *data);
int bind_fd(struct init *init, int source_fd, bool recursive, int target_fd);
int set_attributes(struct init *init, int fd, bool recursive, uint64_t set, uint64_t clear);
unsigned long mount_flags(uint64_t attributes);

/* mount_id.c */
uint64_t mount_id(int fd);
bool is_mount_root(int fd);

/* tmpcopyup.c */
int copy_up(int source_fd, int target_fd);

/* identity.c */
int guard_process(struct init *init);
int apply_rlimits(struct init *init);

/* start.c */
bool awaits_hooks(const struct init *init);

int open_null(struct init *init); /* binds.c */

/* Operations. */
int op_setns(struct init *init, const struct shim_op_setns *op);
int op_unshare(struct init *init, const struct shim_op_unshare *op);
int op_respawn(struct init *init, const struct shim_op_respawn *op);
int op_set_rlimit(struct init *init, const struct shim_op_set_rlimit *op);
int op_set_oom_score_adj(struct init *init, const struct shim_op_set_oom_score_adj *op);
int op_set_scheduler(struct init *init, const struct shim_op_set_scheduler *op);
int op_set_io_priority(struct init *init, const struct shim_op_set_io_priority *op);
int op_set_memory_policy(struct init *init, const struct shim_op_set_memory_policy *op);
int op_set_personality(struct init *init, const struct shim_op_set_personality *op);
int op_session_keyring(struct init *init, const struct shim_op_session_keyring *op);
int op_host_propagation(struct init *init, const struct shim_op_host_propagation *op);
int op_open_rootfs(struct init *init, const struct shim_op_open_rootfs *op);
int op_mount(struct init *init, const struct shim_op_mount *op);
int op_bind(struct init *init, const struct shim_op_bind *op);
int op_propagation(struct init *init, const struct shim_op_propagation *op);
int op_set_mount_attr(struct init *init, const struct shim_op_set_mount_attr *op);
int op_make_dir(struct init *init, const struct shim_op_make_dir *op);
int op_make_node(struct init *init, const struct shim_op_make_node *op);
int op_symlink(struct init *init, const struct shim_op_symlink *op);
int op_mask(struct init *init, const struct shim_op_mask *op);
int op_readonly(struct init *init, const struct shim_op_readonly *op);
int op_open_pty(struct init *init, const struct shim_op_open_pty *op);
int op_hook(struct init *init, const struct shim_op_hook *op);
int op_pivot_root(struct init *init, const struct shim_op_pivot_root *op);
int op_write_sysctl(struct init *init, const struct shim_op_write_sysctl *op);
int op_set_hostname(struct init *init, const struct shim_op_set_hostname *op);
int op_set_domainname(struct init *init, const struct shim_op_set_domainname *op);
int op_set_label(struct init *init, const struct shim_op_set_label *op);
int op_own_stdio(struct init *init, const struct shim_op_own_stdio *op);
int op_no_new_privs(struct init *init, const struct shim_op_no_new_privs *op);
int op_load_seccomp(struct init *init, const struct shim_op_load_seccomp *op);
int op_drop_bounding(struct init *init, const struct shim_op_drop_bounding *op);
int op_set_ids(struct init *init, const struct shim_op_set_ids *op);
int op_set_caps(struct init *init, const struct shim_op_set_caps *op);
int op_change_dir(struct init *init, const struct shim_op_change_dir *op);
int op_set_environment(struct init *init, const struct shim_op_set_environment *op);
int op_find_executable(struct init *init, const struct shim_op_find_executable *op);
int op_close_fds(struct init *init, const struct shim_op_close_fds *op);
int op_await_start(struct init *init, const struct shim_op_await_start *op);
int op_loopback_up(struct init *init, const struct shim_op_loopback_up *op);
int op_join_process(struct init *init, const struct shim_op_join_process *op);
int op_set_affinity(struct init *init, const struct shim_op_set_affinity *op);
int op_unmount(struct init *init, const struct shim_op_unmount *op);
int op_outlive(struct init *init, const struct shim_op_outlive *op);
int op_execute(struct init *init, const struct shim_op_execute *op);

/* The string at an offset of the plan, where check_plan() asks for one. */
static inline const char *text(const struct init *init, shim_text offset) {
    return (const char *)init->plan + offset;
}

static inline const char *text_or_null(const struct init *init, shim_text offset) {
    return offset ? text(init, offset) : NULL;
}

char **make_vector(const struct init *init, struct shim_list list, uint32_t spare);

static inline void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
#endif
