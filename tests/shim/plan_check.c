/* SPDX-License-Identifier: Apache-2.0
 *
 * check_plan() takes what the encoders make, and nothing whose use would leave the buffer: every
 * accepted buffer is read to its last string, under AddressSanitizer, in memory of exactly its
 * size. */
#include "check.h"

static unsigned sum; /* what was read, so that reading is not optimized away */

static void read_text(const unsigned char *plan, uint32_t offset) {
    if (offset)
        sum += (unsigned)strlen((const char *)plan + offset);
}

static void read_list(const unsigned char *plan, struct shim_list list) {
    struct init init = {.plan = plan};
    char **vector = make_vector(&init, list, 0);
    CHECK(vector);
    for (uint32_t i = 0; i < list.count; i++)
        sum += (unsigned char)vector[i][0];
    CHECK(!vector[list.count]);
    free(vector);
}

static void read_blob(const unsigned char *plan, struct shim_blob blob) {
    for (uint32_t i = 0; i < blob.size; i++)
        sum += plan[blob.offset + i];
}

static void use_op(const unsigned char *plan, const void *op, uint16_t kind) {
#define AS(type) ((const struct shim_op_##type *)op)
    switch (kind) {
    case OP_SESSION_KEYRING:
        read_text(plan, AS(session_keyring)->name);
        read_text(plan, AS(session_keyring)->label);
        break;
    case OP_MOUNT:
        read_text(plan, AS(mount)->fstype);
        read_text(plan, AS(mount)->source);
        read_text(plan, AS(mount)->target);
        read_list(plan, AS(mount)->data);
        break;
    case OP_BIND:
        read_text(plan, AS(bind)->source);
        read_text(plan, AS(bind)->target);
        break;
    case OP_MAKE_NODE:
        read_text(plan, AS(make_node)->path);
        read_text(plan, AS(make_node)->bind_from);
        break;
    case OP_SYMLINK:
        read_text(plan, AS(symlink)->text);
        read_text(plan, AS(symlink)->path);
        break;
    case OP_MASK:
        read_text(plan, AS(mask)->path);
        read_text(plan, AS(mask)->label);
        break;
    case OP_HOOK:
        read_text(plan, AS(hook)->path);
        read_list(plan, AS(hook)->args);
        read_list(plan, AS(hook)->env);
        break;
    case OP_WRITE_SYSCTL:
        read_text(plan, AS(write_sysctl)->path);
        read_text(plan, AS(write_sysctl)->value);
        break;
    case OP_LOAD_SECCOMP:
        read_blob(plan, AS(load_seccomp)->program);
        break;
    case OP_SET_IDS:
        read_blob(plan, AS(set_ids)->groups);
        break;
    case OP_SET_ENVIRONMENT:
        read_list(plan, AS(set_environment)->env);
        break;
    case OP_EXECUTE:
        read_list(plan, AS(execute)->args);
        break;
    }
}

static void use_plan(const unsigned char *plan, size_t size) {
    const struct shim_header *header = (const void *)plan;
    const unsigned char *op = plan + header->first;
    CHECK_EQUAL(header->size, size);
    for (uint32_t i = 0; i < header->count; i++) {
        use_op(plan, op, ((const struct shim_op *)(const void *)op)->kind);
        op += ((const struct shim_op *)(const void *)op)->size;
    }
}

static void add_mounts(struct shim_plan *plan) {
    CHECK(shim_op_host_propagation(plan, 1) >= 0);
    CHECK(shim_op_open_rootfs(plan, "/rootfs", ROOTFS_BIND) >= 0);
    CHECK(shim_op_mount(plan, "tmpfs", "none", "/dev", 0, 2, 0, "mode=755\0size=4k", 17, 2, 0) >=
          0);
    CHECK(shim_op_mount(plan, "proc", NULL, "/proc", TARGET_REAL_DIR, 0, 0, NULL, 0, 0, 0) >= 0);
    CHECK(shim_op_bind(plan, "/etc", "/etc", 0, BIND_RECURSIVE, 1, 0, 0, 0) >= 0);
    CHECK(shim_op_propagation(plan, "/", 1) >= 0);
    CHECK(shim_op_set_mount_attr(plan, "/", 1, 0, 0) >= 0);
    CHECK(shim_op_make_dir(plan, "/work", 0755) >= 0);
    CHECK(shim_op_make_node(plan, "/dev/null", 0020666, 1, 3, 0, 0, "/dev/null") >= 0);
    CHECK(shim_op_symlink(plan, "pts/ptmx", "/dev/ptmx", TARGET_SYMLINK_OK) >= 0);
    CHECK(shim_op_mask(plan, "/proc/keys", NULL) >= 0);
    CHECK(shim_op_readonly(plan, "/proc/sys") >= 0);
    CHECK(shim_op_open_pty(plan, -1, PTY_HAS_SIZE, 0, 24, 80) >= 0);
    CHECK(shim_op_pivot_root(plan, PIVOT_ROOT) >= 0);
}

static void add_process(struct shim_plan *plan) {
    uint32_t groups[] = {4, 5};
    CHECK(shim_op_write_sysctl(plan, "net/ipv4/ip_forward", "1") >= 0);
    CHECK(shim_op_loopback_up(plan) >= 0);
    CHECK(shim_op_set_hostname(plan, "host") >= 0);
    CHECK(shim_op_set_domainname(plan, "domain") >= 0);
    CHECK(shim_op_set_label(plan, "label", LABEL_SELINUX) >= 0);
    CHECK(shim_op_own_stdio(plan, 1) >= 0);
    CHECK(shim_op_no_new_privs(plan) >= 0);
    CHECK(shim_op_load_seccomp(plan, "\6\0\0\0\0\0\377\177", 8, 0) >= 0);
    CHECK(shim_op_drop_bounding(plan, 7) >= 0);
    CHECK(shim_op_set_ids(plan, 1, 1, groups, 2, 022, IDS_SET_GROUPS) >= 0);
    CHECK(shim_op_set_caps(plan, 1, 1, 0, 0) >= 0);
    CHECK(shim_op_change_dir(plan, "/", 1) >= 0);
    CHECK(shim_op_set_environment(plan, "A=1\0B=2", 8, 2, 0, ENVIRONMENT_HOME) >= 0);
    CHECK(shim_op_find_executable(plan, "sh") >= 0);
    CHECK(shim_op_stage(plan, STAGE_READY) >= 0);
    CHECK(shim_op_await_start(plan, 5) >= 0);
    CHECK(shim_op_hook(plan, HOOK_START_CONTAINER, 0, "/hook", 3, "a\0b", 4, 2, "C=3", 4, 1, -1,
                       5) >= 0);
    CHECK(shim_op_close_fds(plan, 3) >= 0);
    CHECK(shim_op_execute(plan, "sh\0-c\0true", 11, 3) >= 0);
}

static bool accepts(const unsigned char *bytes, size_t size) {
    int index;
    return check_plan(bytes, size, &index) == 0;
}

/* In memory of exactly `size` bytes. */
static bool accepts_copy(const unsigned char *bytes, size_t size) {
    unsigned char *copy = malloc(size ? size : 1);
    CHECK(copy);
    memcpy(copy, bytes, size);
    bool accepted = accepts(copy, size);
    if (accepted)
        use_plan(copy, size);
    free(copy);
    return accepted;
}

static void test_truncated(const unsigned char *bytes, size_t size) {
    unsigned char *copy = malloc(size);
    CHECK(copy);
    memcpy(copy, bytes, size);
    for (size_t length = 0; length < size; length++) {
        CHECK(!accepts_copy(copy, length));
        if (length >= sizeof(struct shim_header)) {
            ((struct shim_header *)(void *)copy)->size = (uint32_t)length;
            CHECK(!accepts_copy(copy, length));
        }
    }
    free(copy);
}

static void test_flipped(const unsigned char *bytes, size_t size) {
    unsigned char *copy = malloc(size);
    CHECK(copy);
    memcpy(copy, bytes, size);
    for (size_t bit = 0; bit < size * 8; bit++) {
        copy[bit / 8] ^= (unsigned char)(1U << bit % 8);
        (void)accepts_copy(copy, size);
        copy[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    free(copy);
}

static uint64_t state = 88172645463325252; /* xorshift64: the same numbers in every run */

static uint64_t number(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void test_mutated(const unsigned char *bytes, size_t size, long rounds) {
    static const uint32_t interesting[] = {0, 1, 7, 8, 0x7fffffff, 0x80000000, 0xffffffff};
    unsigned char *copy = malloc(size);
    long accepted = 0;
    CHECK(copy);
    for (long round = 0; round < rounds; round++) {
        memcpy(copy, bytes, size);
        for (uint64_t count = number() % 4 + 1; count > 0; count--) {
            size_t place = number() % (size / 4) * 4;
            uint64_t pick = number() % 10;
            uint32_t word = pick < 7   ? interesting[pick]
                            : pick < 9 ? (uint32_t)(number() % (size + 64))
                                       : (uint32_t)number();
            memcpy(copy + place, &word, sizeof word);
        }
        accepted += accepts_copy(copy, size);
    }
    free(copy);
    /* Else the mutations would be too wild to reach the checks behind the first. */
    CHECK(accepted > rounds / 100 && accepted < rounds);
}

/* Each is refused, and named by its index. */
static void test_refused(void) {
    struct shim_plan *plan;
    const void *bytes;
    size_t size;
    int index;
#define REFUSED(call)                                                                              \
    plan = shim_plan_new();                                                                        \
    CHECK(shim_op_no_new_privs(plan) == 0);                                                        \
    CHECK((call) == 1);                                                                            \
    bytes = shim_plan_finish(plan, 3, &size);                                                      \
    CHECK_EQUAL(check_plan(bytes, size, &index), -EINVAL);                                         \
    CHECK_EQUAL(index, 1);                                                                         \
    shim_plan_free(plan)
    REFUSED(shim_op_stage(plan, 0));
    REFUSED(shim_op_stage(plan, STAGE_END));
    REFUSED(shim_op_setns(plan, -1, 0));
    REFUSED(shim_op_open_rootfs(plan, "rootfs", 0));
    REFUSED(shim_op_open_rootfs(plan, "/rootfs", 4));
    REFUSED(shim_op_mount(plan, NULL, NULL, "/", 0, 0, 0, NULL, 0, 0, 0));
    REFUSED(shim_op_mount(plan, "proc", NULL, NULL, 0, 0, 0, NULL, 0, 0, 0));
    REFUSED(shim_op_mount(plan, "proc", NULL, "/proc", 32, 0, 0, NULL, 0, 0, 0));
    REFUSED(shim_op_bind(plan, "relative", "/etc", 0, 0, 0, 0, 0, 0));
    REFUSED(shim_op_hook(plan, 3, 0, "/hook", 0, NULL, 0, 0, NULL, 0, 0, -1, -1));
    REFUSED(shim_op_hook(plan, 1, 0, "/hook", -1, NULL, 0, 0, NULL, 0, 0, -1, -1));
    REFUSED(shim_op_hook(plan, 1, 0, "/hook", 0, NULL, 0, 0, NULL, 0, 0, -1, -2));
    REFUSED(shim_op_pivot_root(plan, 0));
    REFUSED(shim_op_load_seccomp(plan, "123456789", 9, 0));
    REFUSED(shim_op_change_dir(plan, "relative", 0));
    REFUSED(shim_op_await_start(plan, -1));
    REFUSED(shim_op_execute(plan, NULL, 0, 0));
    /* More strings than there are. */
    REFUSED(shim_op_execute(plan, "a", 2, 100));
}

int main(void) {
    size_t size;
    struct shim_plan *plan = shim_plan_new();
    CHECK(plan);
    CHECK(shim_op_setns(plan, 4, 0) >= 0);
    CHECK(shim_op_unshare(plan, 1) >= 0);
    CHECK(shim_op_set_rlimit(plan, 7, 1, 2) >= 0);
    CHECK(shim_op_set_oom_score_adj(plan, -5, TOLERATE_EPERM) >= 0);
    CHECK(shim_op_session_keyring(plan, "name", "label") >= 0);
    add_mounts(plan);
    add_process(plan);
    const unsigned char *bytes = shim_plan_finish(plan, 3, &size);
    CHECK(bytes);
    CHECK(accepts_copy(bytes, size));
    test_truncated(bytes, size);
    test_flipped(bytes, size);
    test_mutated(bytes, size, 400000);
    test_refused();
    shim_plan_free(plan);
    printf("read %u\n", sum);
    return 0;
}
