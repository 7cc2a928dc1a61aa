// SPDX-License-Identifier: Apache-2.0
/* Decides how operations are laid out in the flat buffer; knows nothing of their meaning. */
#include "shim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct shim_plan {
    unsigned char *bytes;
    size_t size;
    size_t room;
    uint32_t count;
    uint32_t flags;
    int error; /* the first one, kept: every later call gives it again */
};

static size_t aligned(size_t size) { return (size + 7) & ~(size_t)7; }

/* Makes room for `size` more bytes, zeroed; their offset, or 0. */
static uint32_t reserve(struct shim_plan *plan, size_t size) {
    size_t offset = plan->size;
    size_t wanted = offset + aligned(size);

    if (plan->error)
        return 0;
    if (size > SHIM_PLAN_MAX || wanted > SHIM_PLAN_MAX) {
        plan->error = -E2BIG;
        return 0;
    }
    if (wanted > plan->room) {
        size_t room = plan->room * 2 > wanted ? plan->room * 2 : wanted;
        unsigned char *bytes = realloc(plan->bytes, room);

        if (!bytes) {
            plan->error = -ENOMEM;
            return 0;
        }
        plan->bytes = bytes;
        plan->room = room;
    }
    memset(plan->bytes + offset, 0, wanted - offset);
    plan->size = wanted;
    return (uint32_t)offset;
}

struct shim_plan *shim_plan_new(void) {
    struct shim_plan *plan = calloc(1, sizeof(*plan));

    if (!plan)
        return NULL;
    plan->room = 16384;
    plan->bytes = malloc(plan->room);
    if (!plan->bytes) {
        free(plan);
        return NULL;
    }
    reserve(plan, sizeof(struct shim_header));
    return plan;
}

void shim_plan_free(struct shim_plan *plan) {
    if (plan) {
        free(plan->bytes);
        free(plan);
    }
}

/* An operation's strings stand between its structure and the next operation,
 * so `begin` comes first, then the strings, and `end` closes it. */
struct op_place {
    uint32_t offset;
};

static struct op_place begin(struct shim_plan *plan, uint16_t kind, size_t size) {
    struct op_place place = {reserve(plan, size)};

    if (place.offset)
        ((struct shim_op *)(void *)(plan->bytes + place.offset))->kind = kind;
    return place;
}

static int end(struct shim_plan *plan, struct op_place place) {
    if (plan->error)
        return plan->error;
    ((struct shim_op *)(void *)(plan->bytes + place.offset))->size =
        (uint32_t)(plan->size - place.offset);
    return (int)plan->count++;
}

static uint32_t put(struct shim_plan *plan, const void *bytes, size_t size) {
    uint32_t offset = reserve(plan, size);

    if (offset && size)
        memcpy(plan->bytes + offset, bytes, size);
    return offset;
}

static shim_text text(struct shim_plan *plan, const char *string) {
    return string ? put(plan, string, strlen(string) + 1) : 0;
}

static struct shim_list list(struct shim_plan *plan, const char *bytes, size_t size,
                             uint32_t count) {
    struct shim_list result = {0, count};

    if (count)
        result.offset = put(plan, bytes, size);
    return result;
}

/* The structure of the operation at `place`.  Strings may move the buffer, so
 * this is asked for only after the last of them. */
#define AT(type) ((struct shim_op_##type *)(void *)(plan->bytes + place.offset))
#define BEGIN(KIND, type)                                                                          \
    struct op_place place = begin(plan, OP_##KIND, sizeof(struct shim_op_##type));                 \
    if (plan->error)                                                                               \
    return plan->error
#define END() end(plan, place)
#define CHECK()                                                                                    \
    if (plan->error)                                                                               \
    return plan->error

int shim_op_stage(struct shim_plan *plan, uint32_t stage) {
    BEGIN(STAGE, stage);
    AT(stage)->stage = stage;
    return END();
}

int shim_op_setns(struct shim_plan *plan, int fd, uint32_t nstype) {
    BEGIN(SETNS, setns);
    AT(setns)->fd = fd;
    AT(setns)->nstype = nstype;
    return END();
}

int shim_op_unshare(struct shim_plan *plan, uint64_t flags) {
    BEGIN(UNSHARE, unshare);
    AT(unshare)->flags = flags;
    return END();
}

int shim_op_respawn(struct shim_plan *plan, uint64_t flags, uint32_t options) {
    BEGIN(RESPAWN, respawn);
    AT(respawn)->flags = flags;
    AT(respawn)->options = options;
    return END();
}

int shim_op_set_rlimit(struct shim_plan *plan, uint32_t resource, uint64_t soft, uint64_t hard) {
    BEGIN(SET_RLIMIT, set_rlimit);
    AT(set_rlimit)->resource = resource;
    AT(set_rlimit)->soft = soft;
    AT(set_rlimit)->hard = hard;
    return END();
}

int shim_op_set_oom_score_adj(struct shim_plan *plan, int value, uint32_t flags) {
    BEGIN(SET_OOM_SCORE_ADJ, set_oom_score_adj);
    AT(set_oom_score_adj)->value = value;
    AT(set_oom_score_adj)->flags = flags;
    return END();
}

int shim_op_set_scheduler(struct shim_plan *plan, uint32_t policy, uint64_t flags, int nice,
                          uint32_t priority, uint64_t runtime, uint64_t deadline, uint64_t period) {
    BEGIN(SET_SCHEDULER, set_scheduler);
    AT(set_scheduler)->policy = policy;
    AT(set_scheduler)->flags = flags;
    AT(set_scheduler)->nice = nice;
    AT(set_scheduler)->priority = priority;
    AT(set_scheduler)->runtime = runtime;
    AT(set_scheduler)->deadline = deadline;
    AT(set_scheduler)->period = period;
    return END();
}

int shim_op_set_io_priority(struct shim_plan *plan, uint32_t value) {
    BEGIN(SET_IO_PRIORITY, set_io_priority);
    AT(set_io_priority)->value = value;
    return END();
}

int shim_op_set_memory_policy(struct shim_plan *plan, uint32_t mode, const uint64_t *nodes,
                              uint32_t word_count) {
    BEGIN(SET_MEMORY_POLICY, set_memory_policy);
    uint32_t nodes_at = word_count ? put(plan, nodes, word_count * sizeof(*nodes)) : 0;

    CHECK();
    AT(set_memory_policy)->mode = mode;
    AT(set_memory_policy)->nodes.offset = nodes_at;
    AT(set_memory_policy)->nodes.size = word_count * (uint32_t)sizeof(*nodes);
    return END();
}

int shim_op_set_personality(struct shim_plan *plan, uint32_t value) {
    BEGIN(SET_PERSONALITY, set_personality);
    AT(set_personality)->value = value;
    return END();
}

int shim_op_session_keyring(struct shim_plan *plan, const char *name, const char *label) {
    BEGIN(SESSION_KEYRING, session_keyring);
    shim_text name_at = text(plan, name);
    shim_text label_at = text(plan, label);

    CHECK();
    AT(session_keyring)->name = name_at;
    AT(session_keyring)->label = label_at;
    return END();
}

int shim_op_host_propagation(struct shim_plan *plan, uint64_t flags) {
    BEGIN(HOST_PROPAGATION, host_propagation);
    AT(host_propagation)->flags = flags;
    return END();
}

int shim_op_open_rootfs(struct shim_plan *plan, const char *path, uint32_t flags) {
    BEGIN(OPEN_ROOTFS, open_rootfs);
    shim_text path_at = text(plan, path);

    CHECK();
    AT(open_rootfs)->path = path_at;
    AT(open_rootfs)->flags = flags;
    return END();
}

int shim_op_mount(struct shim_plan *plan, const char *fstype, const char *source,
                  const char *target, uint32_t target_flags, uint64_t attr_set, uint64_t sb_flags,
                  const char *data, size_t data_size, uint32_t data_count, uint32_t flags) {
    BEGIN(MOUNT, mount);
    shim_text fstype_at = text(plan, fstype);
    shim_text source_at = text(plan, source);
    shim_text target_at = text(plan, target);
    struct shim_list data_at = list(plan, data, data_size, data_count);

    CHECK();
    AT(mount)->fstype = fstype_at;
    AT(mount)->source = source_at;
    AT(mount)->target = target_at;
    AT(mount)->target_flags = target_flags;
    AT(mount)->attr_set = attr_set;
    AT(mount)->sb_flags = sb_flags;
    AT(mount)->data = data_at;
    AT(mount)->flags = flags;
    return END();
}

int shim_op_bind(struct shim_plan *plan, const char *source, const char *target,
                 uint32_t target_flags, uint32_t flags, uint64_t attr_set, uint64_t attr_clr,
                 uint64_t rec_set, uint64_t rec_clr) {
    BEGIN(BIND, bind);
    shim_text source_at = text(plan, source);
    shim_text target_at = text(plan, target);

    CHECK();
    AT(bind)->source = source_at;
    AT(bind)->target = target_at;
    AT(bind)->target_flags = target_flags;
    AT(bind)->flags = flags;
    AT(bind)->attr_set = attr_set;
    AT(bind)->attr_clr = attr_clr;
    AT(bind)->rec_set = rec_set;
    AT(bind)->rec_clr = rec_clr;
    return END();
}

int shim_op_propagation(struct shim_plan *plan, const char *target, uint32_t flags) {
    BEGIN(PROPAGATION, propagation);
    shim_text target_at = text(plan, target);

    CHECK();
    AT(propagation)->target = target_at;
    AT(propagation)->flags = flags;
    return END();
}

int shim_op_set_mount_attr(struct shim_plan *plan, const char *target, uint64_t attr_set,
                           uint64_t attr_clr, uint32_t recursive) {
    BEGIN(SET_MOUNT_ATTR, set_mount_attr);
    shim_text target_at = text(plan, target);

    CHECK();
    AT(set_mount_attr)->target = target_at;
    AT(set_mount_attr)->attr_set = attr_set;
    AT(set_mount_attr)->attr_clr = attr_clr;
    AT(set_mount_attr)->recursive = recursive;
    return END();
}

int shim_op_make_dir(struct shim_plan *plan, const char *path, uint32_t mode) {
    BEGIN(MAKE_DIR, make_dir);
    shim_text path_at = text(plan, path);

    CHECK();
    AT(make_dir)->path = path_at;
    AT(make_dir)->mode = mode;
    return END();
}

int shim_op_make_node(struct shim_plan *plan, const char *path, uint32_t mode, uint32_t major,
                      uint32_t minor, uint32_t uid, uint32_t gid, const char *bind_from) {
    BEGIN(MAKE_NODE, make_node);
    shim_text path_at = text(plan, path);
    shim_text bind_from_at = text(plan, bind_from);

    CHECK();
    AT(make_node)->path = path_at;
    AT(make_node)->mode = mode;
    AT(make_node)->major = major;
    AT(make_node)->minor = minor;
    AT(make_node)->uid = uid;
    AT(make_node)->gid = gid;
    AT(make_node)->bind_from = bind_from_at;
    return END();
}

int shim_op_symlink(struct shim_plan *plan, const char *link_text, const char *path,
                    uint32_t target_flags) {
    BEGIN(SYMLINK, symlink);
    shim_text text_at = text(plan, link_text);
    shim_text path_at = text(plan, path);

    CHECK();
    AT(symlink)->text = text_at;
    AT(symlink)->path = path_at;
    AT(symlink)->target_flags = target_flags;
    return END();
}

int shim_op_mask(struct shim_plan *plan, const char *path, const char *label) {
    BEGIN(MASK, mask);
    shim_text path_at = text(plan, path);
    shim_text label_at = text(plan, label);

    CHECK();
    AT(mask)->path = path_at;
    AT(mask)->label = label_at;
    return END();
}

int shim_op_readonly(struct shim_plan *plan, const char *path) {
    BEGIN(READONLY, readonly);
    shim_text path_at = text(plan, path);

    CHECK();
    AT(readonly)->path = path_at;
    return END();
}

int shim_op_open_pty(struct shim_plan *plan, int socket_fd, uint32_t flags, uint32_t uid,
                     uint16_t rows, uint16_t columns) {
    BEGIN(OPEN_PTY, open_pty);
    AT(open_pty)->socket_fd = socket_fd;
    AT(open_pty)->flags = flags;
    AT(open_pty)->uid = uid;
    AT(open_pty)->rows = rows;
    AT(open_pty)->columns = columns;
    return END();
}

int shim_op_hook(struct shim_plan *plan, uint32_t hook, uint32_t index, const char *path,
                 int timeout, const char *args, size_t args_size, uint32_t args_count,
                 const char *env, size_t env_size, uint32_t env_count, int out_fd, int err_fd) {
    BEGIN(HOOK, hook);
    shim_text path_at = text(plan, path);
    struct shim_list args_at = list(plan, args, args_size, args_count);
    struct shim_list env_at = list(plan, env, env_size, env_count);

    CHECK();
    AT(hook)->hook = hook;
    AT(hook)->index = index;
    AT(hook)->path = path_at;
    AT(hook)->timeout = timeout;
    AT(hook)->args = args_at;
    AT(hook)->env = env_at;
    AT(hook)->output_fd[0] = out_fd;
    AT(hook)->output_fd[1] = err_fd;
    return END();
}

int shim_op_pivot_root(struct shim_plan *plan, uint32_t how) {
    BEGIN(PIVOT_ROOT, pivot_root);
    AT(pivot_root)->how = how;
    return END();
}

int shim_op_write_sysctl(struct shim_plan *plan, const char *path, const char *value) {
    BEGIN(WRITE_SYSCTL, write_sysctl);
    shim_text path_at = text(plan, path);
    shim_text value_at = text(plan, value);

    CHECK();
    AT(write_sysctl)->path = path_at;
    AT(write_sysctl)->value = value_at;
    return END();
}

int shim_op_set_hostname(struct shim_plan *plan, const char *name) {
    BEGIN(SET_HOSTNAME, set_hostname);
    shim_text name_at = text(plan, name);

    CHECK();
    AT(set_hostname)->name = name_at;
    return END();
}

int shim_op_set_domainname(struct shim_plan *plan, const char *name) {
    BEGIN(SET_DOMAINNAME, set_domainname);
    shim_text name_at = text(plan, name);

    CHECK();
    AT(set_domainname)->name = name_at;
    return END();
}

int shim_op_set_label(struct shim_plan *plan, const char *label, uint32_t which) {
    BEGIN(SET_LABEL, set_label);
    shim_text label_at = text(plan, label);

    CHECK();
    AT(set_label)->label = label_at;
    AT(set_label)->which = which;
    return END();
}

int shim_op_own_stdio(struct shim_plan *plan, uint32_t uid) {
    BEGIN(OWN_STDIO, own_stdio);
    AT(own_stdio)->uid = uid;
    return END();
}

int shim_op_loopback_up(struct shim_plan *plan) {
    BEGIN(LOOPBACK_UP, loopback_up);
    return END();
}

int shim_op_join_process(struct shim_plan *plan, int pid_fd, int pid, uint32_t flags) {
    BEGIN(JOIN_PROCESS, join_process);
    AT(join_process)->pid_fd = pid_fd;
    AT(join_process)->pid = pid;
    AT(join_process)->flags = flags;
    return END();
}

int shim_op_set_affinity(struct shim_plan *plan, const uint64_t *words, uint32_t word_count) {
    BEGIN(SET_AFFINITY, set_affinity);
    uint32_t words_at = word_count ? put(plan, words, word_count * sizeof(*words)) : 0;

    CHECK();
    AT(set_affinity)->processors.offset = words_at;
    AT(set_affinity)->processors.size = word_count * (uint32_t)sizeof(*words);
    return END();
}

int shim_op_unmount(struct shim_plan *plan, const char *target) {
    BEGIN(UNMOUNT, unmount);
    shim_text target_at = text(plan, target);

    CHECK();
    AT(unmount)->target = target_at;
    return END();
}

int shim_op_outlive(struct shim_plan *plan) {
    BEGIN(OUTLIVE, outlive);
    return END();
}

int shim_op_no_new_privs(struct shim_plan *plan) {
    BEGIN(NO_NEW_PRIVS, no_new_privs);
    return END();
}

int shim_op_load_seccomp(struct shim_plan *plan, const void *program, size_t size, uint32_t flags) {
    BEGIN(LOAD_SECCOMP, load_seccomp);
    uint32_t program_at = put(plan, program, size);

    CHECK();
    AT(load_seccomp)->program.offset = program_at;
    AT(load_seccomp)->program.size = (uint32_t)size;
    AT(load_seccomp)->flags = flags;
    return END();
}

int shim_op_drop_bounding(struct shim_plan *plan, uint64_t keep) {
    BEGIN(DROP_BOUNDING, drop_bounding);
    AT(drop_bounding)->keep = keep;
    return END();
}

int shim_op_set_ids(struct shim_plan *plan, uint32_t uid, uint32_t gid, const uint32_t *groups,
                    uint32_t group_count, uint32_t umask, uint32_t flags) {
    BEGIN(SET_IDS, set_ids);
    uint32_t groups_at = group_count ? put(plan, groups, group_count * sizeof(*groups)) : 0;

    CHECK();
    AT(set_ids)->uid = uid;
    AT(set_ids)->gid = gid;
    AT(set_ids)->groups.offset = groups_at;
    AT(set_ids)->groups.size = group_count * (uint32_t)sizeof(*groups);
    AT(set_ids)->umask = umask;
    AT(set_ids)->flags = flags;
    return END();
}

int shim_op_set_caps(struct shim_plan *plan, uint64_t effective, uint64_t permitted,
                     uint64_t inheritable, uint64_t ambient) {
    BEGIN(SET_CAPS, set_caps);
    AT(set_caps)->effective = effective;
    AT(set_caps)->permitted = permitted;
    AT(set_caps)->inheritable = inheritable;
    AT(set_caps)->ambient = ambient;
    return END();
}

int shim_op_change_dir(struct shim_plan *plan, const char *path, uint32_t flags) {
    BEGIN(CHANGE_DIR, change_dir);
    shim_text path_at = text(plan, path);

    CHECK();
    AT(change_dir)->path = path_at;
    AT(change_dir)->flags = flags;
    return END();
}

int shim_op_set_environment(struct shim_plan *plan, const char *env, size_t env_size,
                            uint32_t env_count, uint32_t uid, uint32_t flags) {
    BEGIN(SET_ENVIRONMENT, set_environment);
    struct shim_list env_at = list(plan, env, env_size, env_count);

    CHECK();
    AT(set_environment)->env = env_at;
    AT(set_environment)->uid = uid;
    AT(set_environment)->flags = flags;
    return END();
}

int shim_op_find_executable(struct shim_plan *plan, const char *name) {
    BEGIN(FIND_EXECUTABLE, find_executable);
    shim_text name_at = text(plan, name);

    CHECK();
    AT(find_executable)->name = name_at;
    return END();
}

int shim_op_close_fds(struct shim_plan *plan, int first) {
    BEGIN(CLOSE_FDS, close_fds);
    AT(close_fds)->first = first;
    return END();
}

int shim_op_await_start(struct shim_plan *plan, int fifo_fd) {
    BEGIN(AWAIT_START, await_start);
    AT(await_start)->fifo_fd = fifo_fd;
    return END();
}

int shim_op_execute(struct shim_plan *plan, const char *args, size_t args_size,
                    uint32_t args_count) {
    BEGIN(EXECUTE, execute);
    struct shim_list args_at = list(plan, args, args_size, args_count);

    CHECK();
    AT(execute)->args = args_at;
    return END();
}

void shim_plan_trace(struct shim_plan *plan) { plan->flags |= PLAN_TRACED; }

const void *shim_plan_finish(struct shim_plan *plan, int sync_fd, size_t *size) {
    struct shim_header *header = (struct shim_header *)(void *)plan->bytes;

    if (plan->error)
        return NULL;
    header->magic = SHIM_MAGIC;
    header->version = SHIM_VERSION;
    header->size = (uint32_t)plan->size;
    header->count = plan->count;
    header->first = (uint32_t)aligned(sizeof(*header));
    header->sync_fd = sync_fd;
    header->flags = plan->flags;
    *size = plan->size;
    return plan->bytes;
}
