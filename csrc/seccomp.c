/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiles a seccomp profile: libseccomp resolves every name and writes the
 * filter, and a prologue before it answers system calls that are newer than the
 * profile with ENOSYS, so that a C library falls back instead of failing. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim.h"

#define MAX_ARCHITECTURES 24
#define MAX_CONDITIONS 6
/* seccomp_attr_set(3), SCMP_FLTATR_CTL_OPTIMIZE: 2 is a binary tree instead of a list. */
#define BINARY_TREE 2
/* arch/x86/include/uapi/asm/unistd.h: x32 calls have this bit, and x86_64's audit architecture. */
#define X32_BIT 0x40000000U

struct architecture {
    uint32_t token;
    int newest; /* number of a system call that the profile names, -1: none */
};

struct shim_seccomp {
    scmp_filter_ctx context;
    uint32_t default_action;
    size_t count;
    struct architecture architectures[MAX_ARCHITECTURES];
    uint8_t *program; /* the result, with the prologue */
};

static int find_action(const char *name, uint32_t data, uint32_t *action) {
    static const struct {
        const char *name;
        uint32_t action;
    } plain[] = {
        {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
        {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
        {"SCMP_ACT_LOG", SCMP_ACT_LOG},
        {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
    };
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        if (!strcmp(name, plain[i].name)) {
            *action = plain[i].action;
            return 0;
        }
    if (!strcmp(name, "SCMP_ACT_ERRNO"))
        *action = SCMP_ACT_ERRNO(data & SECCOMP_RET_DATA);
    else if (!strcmp(name, "SCMP_ACT_TRACE"))
        *action = SCMP_ACT_TRACE(data & SECCOMP_RET_DATA);
    else
        return -EINVAL;
    return 0;
}

static int find_operator(const char *name, enum scmp_compare *compare) {
    static const struct {
        const char *name;
        enum scmp_compare compare;
    } operators[] = {
        {"SCMP_CMP_NE", SCMP_CMP_NE},
        {"SCMP_CMP_LT", SCMP_CMP_LT},
        {"SCMP_CMP_LE", SCMP_CMP_LE},
        {"SCMP_CMP_EQ", SCMP_CMP_EQ},
        {"SCMP_CMP_GE", SCMP_CMP_GE},
        {"SCMP_CMP_GT", SCMP_CMP_GT},
        {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    };
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
        if (!strcmp(name, operators[i].name)) {
            *compare = operators[i].compare;
            return 0;
        }
    return -EINVAL;
}

int shim_seccomp_new(const char *action, uint32_t data, struct shim_seccomp **result) {
    uint32_t value;
    int error = find_action(action, data, &value);
    struct shim_seccomp *profile;
    if (error)
        return error;
    profile = calloc(1, sizeof(*profile));
    if (!profile)
        return -ENOMEM;
    profile->default_action = value;
    profile->context = seccomp_init(value);
    if (!profile->context) {
        free(profile);
        return -EINVAL;
    }
    profile->architectures[0].token = seccomp_arch_native();
    profile->architectures[0].newest = -1;
    profile->count = 1;
    *result = profile;
    return 0;
}

void shim_seccomp_free(struct shim_seccomp *profile) {
    if (!profile)
        return;
    seccomp_release(profile->context);
    free(profile->program);
    free(profile);
}

int shim_seccomp_add_arch(struct shim_seccomp *profile, const char *name) {
    char lower[32];
    size_t length = strlen(name);
    uint32_t token;
    int error;
    if (strncmp(name, "SCMP_ARCH_", 10) || length - 10 >= sizeof(lower))
        return -ENOENT;
    for (size_t i = 10; i <= length; i++)
        lower[i - 10] = (char)tolower((unsigned char)name[i]);
    /* What the library does not know has no filter: the kernel's other architectures are refused by
     * the action for bad architectures, which kills. */
    token = seccomp_arch_resolve_name(lower);
    if (!token)
        return -ENOENT;
    error = seccomp_arch_add(profile->context, token);
    if (error)
        return error == -EEXIST ? 0 : error;
    if (profile->count == MAX_ARCHITECTURES)
        return -E2BIG;
    profile->architectures[profile->count].token = token;
    profile->architectures[profile->count].newest = -1;
    profile->count++;
    return 0;
}

static void remember(struct shim_seccomp *profile, const char *name) {
    for (size_t i = 0; i < profile->count; i++) {
        struct architecture *arch = &profile->architectures[i];
        int number = seccomp_syscall_resolve_name_arch(arch->token, name);
        if (number > arch->newest)
            arch->newest = number;
    }
}

int shim_seccomp_add_rule(struct shim_seccomp *profile, const char *action, uint32_t data,
                          const char *name, const struct shim_seccomp_condition *conditions,
                          uint32_t count) {
    struct scmp_arg_cmp tests[MAX_CONDITIONS];
    uint32_t value;
    int number;
    int error = find_action(action, data, &value);
    if (error)
        return error;
    if (count > MAX_CONDITIONS)
        return -E2BIG;
    for (uint32_t i = 0; i < count; i++) {
        enum scmp_compare compare;
        error = find_operator(conditions[i].operator_name, &compare);
        if (error)
            return error;
        tests[i].arg = conditions[i].index;
        tests[i].op = compare;
        tests[i].datum_a = conditions[i].value;
        tests[i].datum_b = conditions[i].value_two;
    }
    number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR)
        return -ENOENT;
    remember(profile, name);
    /* libseccomp refuses a rule that says what happens anyway. */
    if (value == profile->default_action)
        return 0;
    return seccomp_rule_add_array(profile->context, value, number, count, tests);
}

int shim_seccomp_use_tree(struct shim_seccomp *profile) {
    return seccomp_attr_set(profile->context, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE);
}

/* Ends with ENOSYS where the architecture is `token` and the number above
 * `newest`, within the numbers that have or lack the bit of x32.  At most 7
 * instructions. */
static size_t answer_newer(struct sock_filter *code, uint32_t token, uint32_t newest, int x32) {
    const uint32_t nr = offsetof(struct seccomp_data, nr);
    const uint32_t arch = offsetof(struct seccomp_data, arch);
    size_t n = 0;
    int split = token == SCMP_ARCH_X86_64;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arch);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, token, 0,
                                             (unsigned char)(split ? 4 : 3));
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, nr);
    if (split)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT,
                                                 (unsigned char)(x32 ? 0 : 2),
                                                 (unsigned char)(x32 ? 2 : 0));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
    return n;
}

static size_t write_prologue(const struct shim_seccomp *profile, struct sock_filter *code) {
    size_t n = 0;
    for (size_t i = 0; i < profile->count; i++) {
        const struct architecture *arch = &profile->architectures[i];
        if (arch->newest < 0)
            continue;
        if (arch->token == SCMP_ARCH_X32)
            n += answer_newer(code + n, SCMP_ARCH_X86_64, (uint32_t)arch->newest | X32_BIT, 1);
        else
            n += answer_newer(code + n, arch->token, (uint32_t)arch->newest, 0);
    }
    return n;
}

/* seccomp_export_bpf_mem(3) exists since libseccomp 2.6 only. */
static int export(const struct shim_seccomp *profile, struct sock_filter *prologue, size_t count,
                  uint8_t **program, size_t *size) {
    struct stat status;
    uint8_t *data;
    size_t head = count * sizeof(*prologue), length;
    int error;
    int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    error = seccomp_export_bpf(profile->context, fd);
    if (error)
        goto out;
    error = -EIO;
    if (fstat(fd, &status))
        goto out;
    length = (size_t)status.st_size;
    data = malloc(head + length);
    if (!data) {
        error = -ENOMEM;
        goto out;
    }
    memcpy(data, prologue, head);
    if (pread(fd, data + head, length, 0) != (ssize_t)length) {
        free(data);
        goto out;
    }
    *program = data;
    *size = head + length;
    error = 0;
out:
    close(fd);
    return error;
}

int shim_seccomp_compile(struct shim_seccomp *profile, int answer_enosys, const uint8_t **program,
                         size_t *size) {
    struct sock_filter prologue[MAX_ARCHITECTURES * 7];
    size_t count = answer_enosys ? write_prologue(profile, prologue) : 0;
    int error;
    free(profile->program);
    profile->program = NULL;
    error = export(profile, prologue, count, &profile->program, size);
    if (error)
        return error;
    *program = profile->program;
    return *size / sizeof(struct sock_filter) > BPF_MAXINSNS ? -E2BIG : 0;
}

uint32_t shim_seccomp_version(void) {
    const struct scmp_version *version = seccomp_version();
    return version ? version->major << 16 | version->minor << 8 | version->micro : 0;
}
