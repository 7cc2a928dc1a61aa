/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract between the Python side and the C side: every structure that
 * crosses, every operation, every stage.  The build gives this file to cffi
 * without its preprocessor lines, and every C file includes it, so the two
 * sides cannot disagree.  Between those lines: plain declarations only.
 */
#ifndef PYRUNC_SHIM_H
#define PYRUNC_SHIM_H
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------ plan */

/* One flat, position-independent buffer: a header, then the operations, each
 * 8-aligned and `size` bytes long.  A shim_text is the offset of a string that
 * ends with NUL, from the beginning of the buffer; 0 means absent.  A
 * shim_list is `count` such strings one after another.  A shim_blob is bytes. */
typedef uint32_t shim_text;

struct shim_list {
    uint32_t offset;
    uint32_t count;
};

struct shim_blob {
    uint32_t offset;
    uint32_t size;
};

enum shim_limits {
    SHIM_MAGIC = 0x6e757270,
    SHIM_VERSION = 1,
    SHIM_DETAIL_MAX = 1024,
    SHIM_NOT_EXECUTED = 127, /* the status of a child that could not become init */
    SHIM_PLAN_MAX = 67108864
};

struct shim_header {
    uint32_t magic;
    uint32_t version;
    uint32_t size;  /* of the whole buffer, in bytes */
    uint32_t count; /* of operations */
    uint32_t first; /* offset of the first operation */
    int32_t sync_fd;
    uint32_t flags; /* PLAN_* */
    uint32_t reserved;
};

enum shim_plan_flags {
    PLAN_TRACED = 1 /* each operation's beginning is told by a REPORT_TRACE */
};

enum shim_op_kind {
    OP_STAGE = 1,
    OP_SETNS,
    OP_UNSHARE,
    OP_SET_RLIMIT,
    OP_SET_OOM_SCORE_ADJ,
    OP_SET_SCHEDULER,
    OP_SET_IO_PRIORITY,
    OP_SET_MEMORY_POLICY,
    OP_SET_PERSONALITY,
    OP_SESSION_KEYRING,
    OP_HOST_PROPAGATION,
    OP_OPEN_ROOTFS,
    OP_MOUNT,
    OP_BIND,
    OP_PROPAGATION,
    OP_SET_MOUNT_ATTR,
    OP_MAKE_DIR,
    OP_MAKE_NODE,
    OP_SYMLINK,
    OP_MASK,
    OP_READONLY,
    OP_OPEN_PTY,
    OP_HOOK,
    OP_PIVOT_ROOT,
    OP_WRITE_SYSCTL,
    OP_SET_HOSTNAME,
    OP_SET_DOMAINNAME,
    OP_SET_LABEL,
    OP_OWN_STDIO,
    OP_NO_NEW_PRIVS,
    OP_LOAD_SECCOMP,
    OP_DROP_BOUNDING,
    OP_SET_IDS,
    OP_SET_CAPS,
    OP_CHANGE_DIR,
    OP_SET_ENVIRONMENT,
    OP_FIND_EXECUTABLE,
    OP_CLOSE_FDS,
    OP_AWAIT_START,
    OP_EXECUTE,
    OP_LOOPBACK_UP,
    OP_RESPAWN,
    OP_JOIN_PROCESS,
    OP_OUTLIVE,
    OP_SET_AFFINITY,
    OP_UNMOUNT,
    OP_KIND_END
};

struct shim_op {
    uint16_t kind;
    uint16_t reserved;
    uint32_t size; /* of the operation with this header, a multiple of 8 */
};

/* Places where init tells the runtime that it has got there, and waits to be
 * told to go on.  The order below is the order in which they can occur. */
enum shim_stage {
    STAGE_IDMAP = 1,  /* user namespace is new: the runtime writes the id mappings */
    STAGE_USER_IDMAP, /* the same where the runtime has no privileges: init's files in /proc
                         belong to its user until here, that is, init can be traced by it */
    STAGE_BORN,       /* init is in its namespaces: the runtime looks at it before it counts */
    STAGE_CGROUP,     /* the runtime has put init into its cgroups, and network devices into its
                         namespace */
    STAGE_HOOKS,      /* namespaces and mounts stand: prestart, createRuntime hooks.
                         The answer's payload is the state document for hooks */
    STAGE_SECCOMP,    /* the filter with a listener is loaded: the runtime takes the listener, whose
                         descriptor in init is in the report, and gives it to its agent */
    STAGE_READY,      /* all but execve is done: the runtime records the container.
                         The answer's payload is the state document for startContainer
                         hooks, when there are any and STAGE_HOOKS has not brought it */
    STAGE_END
};

struct shim_op_stage {
    struct shim_op op;
    uint32_t stage;
    uint32_t reserved;
};

struct shim_op_setns {
    struct shim_op op;
    int32_t fd;
    uint32_t nstype; /* CLONE_NEW*, checked by the kernel against the fd */
};

struct shim_op_unshare {
    struct shim_op op;
    uint64_t flags;
};

/* Init goes on in a child that is the runtime's too, with these new namespaces (CLONE_NEW*): a pid
 * namespace cannot be had otherwise, nor entered.  A REPORT_BORN tells of it. */
enum shim_respawn_options {
    RESPAWN_CLOSE_PROC = 1 /* others are in the pid namespace, who could reach the host's /proc
                              through the child (CVE-2016-9962) */
};

struct shim_op_respawn {
    struct shim_op op;
    uint64_t flags;
    uint32_t options;
    uint32_t reserved;
};

struct shim_op_set_rlimit {
    struct shim_op op;
    uint32_t resource;
    uint32_t reserved;
    uint64_t soft;
    uint64_t hard;
};

struct shim_op_set_oom_score_adj {
    struct shim_op op;
    int32_t value;
    uint32_t flags;
};

enum shim_flag_tolerant {
    TOLERATE_EPERM = 1 /* rootless: go on when the kernel refuses */
};

struct shim_op_set_scheduler {
    struct shim_op op;
    uint32_t policy;  /* SCHED_* */
    int32_t nice;     /* of SCHED_OTHER and SCHED_BATCH */
    uint64_t flags;   /* SCHED_FLAG_* */
    uint64_t runtime; /* of SCHED_DEADLINE, as the two below: nanoseconds */
    uint64_t deadline;
    uint64_t period;
    uint32_t priority; /* of SCHED_FIFO and SCHED_RR */
    uint32_t reserved;
};

struct shim_op_set_io_priority {
    struct shim_op op;
    uint32_t value; /* IOPRIO_PRIO_VALUE(class, priority) */
    uint32_t reserved;
};

struct shim_op_set_memory_policy {
    struct shim_op op;
    uint32_t mode; /* MPOL_* with MPOL_F_* */
    uint32_t reserved;
    struct shim_blob nodes; /* uint64_t each: bit N of all of them stands for node N */
};

struct shim_op_set_personality {
    struct shim_op op;
    uint32_t value; /* PER_* with the flags of personality(2) */
    uint32_t reserved;
};

struct shim_op_session_keyring {
    struct shim_op op;
    shim_text name;
    shim_text label; /* of the key, where SELinux is on */
};

struct shim_op_host_propagation {
    struct shim_op op;
    uint64_t flags; /* MS_REC | MS_SLAVE and the like, on "/" before anything */
};

enum shim_rootfs_flags {
    ROOTFS_BIND = 1,          /* make the rootfs a mount of its own, recursively */
    ROOTFS_PARENT_PRIVATE = 2 /* the mount above must not be shared: pivot_root(2) */
};

struct shim_op_open_rootfs {
    struct shim_op op;
    shim_text path; /* absolute, in the runtime's mount namespace */
    uint32_t flags;
};

enum shim_target_flags {
    TARGET_REAL_DIR = 1,   /* refuse symbolic links on the way: /proc, /sys (CVE-2019-19921) */
    TARGET_ALLOW_PROC = 2, /* may lie inside a procfs */
    TARGET_NO_CREATE = 4,  /* skip silently when it is not there */
    TARGET_SYMLINK_OK = 8, /* OP_SYMLINK: leave what is there already */
    TARGET_NOFOLLOW = 16   /* a symbolic link at the end is itself the target */
};

struct shim_op_mount {
    struct shim_op op;
    shim_text fstype;
    shim_text source;      /* may be absent */
    shim_text target;      /* in the rootfs */
    uint32_t target_flags; /* TARGET_* */
    uint64_t attr_set;     /* MOUNT_ATTR_* */
    uint64_t sb_flags;     /* MS_* that belong to the superblock */
    struct shim_list data; /* one option a string: key=value or key */
    uint32_t flags;        /* MOUNT_* below */
    uint32_t reserved;
};

enum shim_mount_flags {
    MOUNT_TMPCOPYUP = 1,
    MOUNT_KEEP_MODE = 2,         /* tmpfs without mode=: take the mode of the directory below */
    MOUNT_FALL_BACK_TO_BIND = 4, /* sysfs, proc, cgroup2 refused by EPERM or EBUSY: bind `source` */
    MOUNT_REMOUNT = 8,           /* change the options of the file system that is there */
    MOUNT_BIND_READONLY = 16     /* what is bound instead is read-only, with all below it */
};

enum shim_bind_flags {
    BIND_RECURSIVE = 1,
    BIND_OPTIONAL = 2,    /* a missing source is no error */
    BIND_SOURCE_PROC = 4, /* the source must be on a procfs (CVE-2019-16884) */
    /* The runtime opens the source in init's mount namespace, with rights that init has given up,
     * and answers with the mount: what is id-mapped is so already. */
    BIND_BY_RUNTIME = 8,
    BIND_SOURCE_NOFOLLOW = 16, /* a symbolic link is itself the source */
    BIND_COPY_SYMLINK = 32     /* a symbolic link is made again instead */
};

struct shim_op_bind {
    struct shim_op op;
    shim_text source; /* absolute, in the runtime's mount namespace as init sees it then */
    shim_text target;
    uint32_t target_flags;
    uint32_t flags;
    uint64_t attr_set; /* this mount only */
    uint64_t attr_clr;
    uint64_t rec_set; /* with AT_RECURSIVE */
    uint64_t rec_clr;
};

struct shim_op_propagation {
    struct shim_op op;
    shim_text target;
    uint32_t flags; /* MS_SHARED | MS_REC and the like: one kind */
};

struct shim_op_set_mount_attr {
    struct shim_op op;
    shim_text target;
    uint32_t recursive;
    uint64_t attr_set;
    uint64_t attr_clr;
};

struct shim_op_make_dir {
    struct shim_op op;
    shim_text path;
    uint32_t mode;
};

struct shim_op_make_node {
    struct shim_op op;
    shim_text path;
    uint32_t mode; /* type and permissions */
    uint32_t major;
    uint32_t minor;
    uint32_t uid;
    uint32_t gid;
    shim_text bind_from; /* where mknod is refused: bind this path of the host instead */
    uint32_t reserved;
};

struct shim_op_symlink {
    struct shim_op op;
    shim_text text;
    shim_text path;
    uint32_t target_flags;
    uint32_t reserved;
};

struct shim_op_mask {
    struct shim_op op;
    shim_text path;
    shim_text label; /* context= of the tmpfs over directories, may be absent */
};

struct shim_op_readonly {
    struct shim_op op;
    shim_text path;
    uint32_t reserved;
};

enum shim_pty_flags {
    PTY_BIND_CONSOLE = 1, /* on /dev/console of the container */
    PTY_HAS_SIZE = 2
};

struct shim_op_open_pty {
    struct shim_op op;
    int32_t socket_fd; /* connected console socket, or -1: send the ptmx end to the runtime */
    uint32_t flags;
    uint32_t uid; /* owner of the pts end */
    uint16_t rows;
    uint16_t columns;
};

enum shim_hook_kind {
    HOOK_CREATE_CONTAINER = 1,
    HOOK_START_CONTAINER
};

struct shim_op_hook {
    struct shim_op op;
    uint32_t hook; /* enum shim_hook_kind */
    uint32_t index;
    shim_text path;
    int32_t timeout; /* seconds, 0: none */
    struct shim_list args;
    struct shim_list env;
    int32_t output_fd[2]; /* its standard output and error; -1: told where it fails */
};

enum shim_pivot_kind {
    PIVOT_ROOT = 1, /* pivot_root(".", ".") */
    PIVOT_MOVE,     /* --no-pivot: MS_MOVE and chroot */
    PIVOT_CHROOT    /* no mount namespace of its own */
};

struct shim_op_pivot_root {
    struct shim_op op;
    uint32_t how;
    uint32_t reserved;
};

struct shim_op_write_sysctl {
    struct shim_op op;
    shim_text path; /* below /proc/sys */
    shim_text value;
};

struct shim_op_set_hostname {
    struct shim_op op;
    shim_text name;
    uint32_t reserved;
};

struct shim_op_set_domainname {
    struct shim_op op;
    shim_text name;
    uint32_t reserved;
};

enum shim_label_kind {
    LABEL_APPARMOR = 1,
    LABEL_SELINUX
};

struct shim_op_set_label {
    struct shim_op op;
    shim_text label;
    uint32_t which;
};

struct shim_op_own_stdio {
    struct shim_op op;
    uint32_t uid;
    uint32_t reserved;
};

struct shim_op_no_new_privs {
    struct shim_op op;
};

struct shim_op_load_seccomp {
    struct shim_op op;
    struct shim_blob program; /* struct sock_filter[] */
    uint32_t flags;           /* SECCOMP_FILTER_FLAG_* */
    uint32_t reserved;
};

struct shim_op_drop_bounding {
    struct shim_op op;
    uint64_t keep; /* bit N: capability N stays */
};

enum shim_ids_flags {
    IDS_SET_GROUPS = 1,
    IDS_TOLERATE_DENIED_GROUPS = 2, /* /proc/self/setgroups says deny */
    IDS_KEEP_CAPS = 4,
    IDS_ANY_MAPPED = 8 /* where the user namespace has no such id, the first that it has */
};

struct shim_op_set_ids {
    struct shim_op op;
    uint32_t uid;
    uint32_t gid;
    struct shim_blob groups; /* uint32_t each */
    uint32_t umask;
    uint32_t flags;
};

struct shim_op_set_caps {
    struct shim_op op;
    uint64_t effective;
    uint64_t permitted;
    uint64_t inheritable;
    uint64_t ambient;
};

enum shim_change_dir_flags {
    CHANGE_DIR_CREATE = 1,  /* make it where it is missing */
    CHANGE_DIR_TOLERATE = 2 /* no failure where it may not be entered: a later one tries again */
};

struct shim_op_change_dir {
    struct shim_op op;
    shim_text path;
    uint32_t flags;
};

enum shim_environment_flags {
    ENVIRONMENT_HOME = 1,      /* HOME is unset or empty: take it from /etc/passwd */
    ENVIRONMENT_LISTEN_PID = 2 /* add LISTEN_PID, the process's own id (sd_listen_fds(3)) */
};

struct shim_op_set_environment {
    struct shim_op op;
    struct shim_list env;
    uint32_t uid;
    uint32_t flags;
};

struct shim_op_find_executable {
    struct shim_op op;
    shim_text
        name; /* args[0]; with a slash it is a path, else PATH of the environment is searched */
    uint32_t reserved;
};

struct shim_op_close_fds {
    struct shim_op op;
    int32_t first; /* close this one and all above it at execve */
    uint32_t reserved;
};

struct shim_op_await_start {
    struct shim_op op;
    int32_t fifo_fd; /* exec.fifo, open for reading and writing: a failure goes into it too */
    uint32_t reserved;
};

struct shim_op_execute {
    struct shim_op op;
    struct shim_list args;
};

struct shim_op_loopback_up {
    struct shim_op op;
};

/* Enters namespaces of a process all at once; pid and time are those of children (OP_RESPAWN). */
struct shim_op_join_process {
    struct shim_op op;
    int32_t pid_fd;
    int32_t pid;    /* of the same process, in the runtime's pid namespace */
    uint32_t flags; /* CLONE_NEW* */
    uint32_t reserved;
};

struct shim_op_set_affinity {
    struct shim_op op;
    struct shim_blob processors; /* uint64_t words of a mask, the lowest first */
};

/* Detaches the mount whose root is at `target`, which must be one. */
struct shim_op_unmount {
    struct shim_op op;
    shim_text target;
    uint32_t reserved;
};

/* From here on the process does not die with the runtime. */
struct shim_op_outlive {
    struct shim_op op;
};

/* -------------------------------------------------------------- messages */

/* The system call, or the check of ours, that failed. */
enum shim_call {
    CALL_NONE = 0,
    CALL_READ_PLAN,
    CALL_CHECK_PLAN,
    CALL_OPEN,
    CALL_OPENAT2,
    CALL_READ,
    CALL_WRITE,
    CALL_CLOSE,
    CALL_STAT,
    CALL_STATFS,
    CALL_MKDIR,
    CALL_MKNOD,
    CALL_SYMLINK,
    CALL_UNLINK,
    CALL_CHMOD,
    CALL_CHOWN,
    CALL_SETNS,
    CALL_UNSHARE,
    CALL_SETRLIMIT,
    CALL_KEYCTL,
    CALL_SCHED_SETATTR,
    CALL_IOPRIO_SET,
    CALL_SET_MEMPOLICY,
    CALL_PERSONALITY,
    CALL_FSOPEN,
    CALL_FSCONFIG,
    CALL_FSMOUNT,
    CALL_OPEN_TREE,
    CALL_MOVE_MOUNT,
    CALL_MOUNT_SETATTR,
    CALL_MOUNT,
    CALL_UMOUNT,
    CALL_PIVOT_ROOT,
    CALL_CHROOT,
    CALL_CHDIR,
    CALL_GETCWD,
    CALL_SETHOSTNAME,
    CALL_SETDOMAINNAME,
    CALL_PRCTL,
    CALL_SECCOMP,
    CALL_CAPSET,
    CALL_SETGROUPS,
    CALL_SETGID,
    CALL_SETUID,
    CALL_SETSID,
    CALL_IOCTL,
    CALL_DUP,
    CALL_SEND,
    CALL_RECEIVE,
    CALL_CLONE,
    CALL_WAIT,
    CALL_CLOSE_RANGE,
    CALL_MEMFD,
    CALL_EXECVE,
    CALL_FIND_EXECUTABLE,
    CALL_HOOK,
    CALL_COPY,
    CALL_CHECK_SYMLINK, /* a symbolic link where a real directory must be */
    CALL_CHECK_PROC,    /* target inside a procfs, or source that is not one */
    CALL_CHECK_DEVICE,  /* not the device that it must be */
    CALL_CHECK_CWD,     /* the working directory is outside of the rootfs */
    CALL_SOCKET,
    CALL_PIPE,
    CALL_SCHED_SETAFFINITY,
    CALL_FSPICK,
    CALL_CHECK_LOCKED, /* flags to be cleared that another user namespace has locked */
    CALL_END
};

enum shim_report_kind {
    REPORT_STAGE = 1,
    REPORT_FAILURE,
    REPORT_WARNING,
    REPORT_PTY,    /* with the ptmx end as SCM_RIGHTS */
    REPORT_BORN,   /* init goes on as `pid`, in the runtime's pid namespace; with its pidfd */
    REPORT_SOURCE, /* the OP_BIND at hand wants its mount from the runtime: shim_send_mount() */
    REPORT_TRACE   /* operation `op` begins; the detail is the time, in ns since the epoch */
};

struct shim_report {
    uint32_t kind;
    uint32_t stage;
    int32_t op;          /* index of the operation in the plan, -1: none */
    uint32_t call;       /* enum shim_call */
    int32_t error;       /* errno, positive */
    int32_t listener_fd; /* of STAGE_SECCOMP */
    int32_t pid;         /* of REPORT_BORN, in the runtime's pid namespace */
    uint32_t detail_size;
    char detail[1024]; /* text, or empty */
};

/* --------------------------------------------------------- plan building */

struct shim_plan; /* a growing buffer */

struct shim_plan *shim_plan_new(void);
void shim_plan_free(struct shim_plan *plan);
/* Each appends one operation: its index, or -ENOMEM, -E2BIG. */
int shim_op_stage(struct shim_plan *plan, uint32_t stage);
int shim_op_setns(struct shim_plan *plan, int fd, uint32_t nstype);
int shim_op_unshare(struct shim_plan *plan, uint64_t flags);
int shim_op_respawn(struct shim_plan *plan, uint64_t flags, uint32_t options);
int shim_op_set_rlimit(struct shim_plan *plan, uint32_t resource, uint64_t soft, uint64_t hard);
int shim_op_set_oom_score_adj(struct shim_plan *plan, int value, uint32_t flags);
int shim_op_set_scheduler(struct shim_plan *plan, uint32_t policy, uint64_t flags, int nice,
                          uint32_t priority, uint64_t runtime, uint64_t deadline, uint64_t period);
int shim_op_set_io_priority(struct shim_plan *plan, uint32_t value);
int shim_op_set_memory_policy(struct shim_plan *plan, uint32_t mode, const uint64_t *nodes,
                              uint32_t word_count);
int shim_op_set_personality(struct shim_plan *plan, uint32_t value);
int shim_op_session_keyring(struct shim_plan *plan, const char *name, const char *label);
int shim_op_host_propagation(struct shim_plan *plan, uint64_t flags);
int shim_op_open_rootfs(struct shim_plan *plan, const char *path, uint32_t flags);
int shim_op_mount(struct shim_plan *plan, const char *fstype, const char *source,
                  const char *target, uint32_t target_flags, uint64_t attr_set, uint64_t sb_flags,
                  const char *data, size_t data_size, uint32_t data_count, uint32_t flags);
int shim_op_bind(struct shim_plan *plan, const char *source, const char *target,
                 uint32_t target_flags, uint32_t flags, uint64_t attr_set, uint64_t attr_clr,
                 uint64_t rec_set, uint64_t rec_clr);
int shim_op_propagation(struct shim_plan *plan, const char *target, uint32_t flags);
int shim_op_set_mount_attr(struct shim_plan *plan, const char *target, uint64_t attr_set,
                           uint64_t attr_clr, uint32_t recursive);
int shim_op_make_dir(struct shim_plan *plan, const char *path, uint32_t mode);
int shim_op_make_node(struct shim_plan *plan, const char *path, uint32_t mode, uint32_t major,
                      uint32_t minor, uint32_t uid, uint32_t gid, const char *bind_from);
int shim_op_symlink(struct shim_plan *plan, const char *text, const char *path,
                    uint32_t target_flags);
int shim_op_mask(struct shim_plan *plan, const char *path, const char *label);
int shim_op_readonly(struct shim_plan *plan, const char *path);
int shim_op_open_pty(struct shim_plan *plan, int socket_fd, uint32_t flags, uint32_t uid,
                     uint16_t rows, uint16_t columns);
int shim_op_hook(struct shim_plan *plan, uint32_t hook, uint32_t index, const char *path,
                 int timeout, const char *args, size_t args_size, uint32_t args_count,
                 const char *env, size_t env_size, uint32_t env_count, int out_fd, int err_fd);
int shim_op_pivot_root(struct shim_plan *plan, uint32_t how);
int shim_op_write_sysctl(struct shim_plan *plan, const char *path, const char *value);
int shim_op_loopback_up(struct shim_plan *plan);
int shim_op_join_process(struct shim_plan *plan, int pid_fd, int pid, uint32_t flags);
int shim_op_outlive(struct shim_plan *plan);
int shim_op_set_affinity(struct shim_plan *plan, const uint64_t *words, uint32_t word_count);
int shim_op_unmount(struct shim_plan *plan, const char *target);
int shim_op_set_hostname(struct shim_plan *plan, const char *name);
int shim_op_set_domainname(struct shim_plan *plan, const char *name);
int shim_op_set_label(struct shim_plan *plan, const char *label, uint32_t which);
int shim_op_own_stdio(struct shim_plan *plan, uint32_t uid);
int shim_op_no_new_privs(struct shim_plan *plan);
int shim_op_load_seccomp(struct shim_plan *plan, const void *program, size_t size, uint32_t flags);
int shim_op_drop_bounding(struct shim_plan *plan, uint64_t keep);
int shim_op_set_ids(struct shim_plan *plan, uint32_t uid, uint32_t gid, const uint32_t *groups,
                    uint32_t group_count, uint32_t umask, uint32_t flags);
int shim_op_set_caps(struct shim_plan *plan, uint64_t effective, uint64_t permitted,
                     uint64_t inheritable, uint64_t ambient);
int shim_op_change_dir(struct shim_plan *plan, const char *path, uint32_t flags);
int shim_op_set_environment(struct shim_plan *plan, const char *env, size_t env_size,
                            uint32_t env_count, uint32_t uid, uint32_t flags);
int shim_op_find_executable(struct shim_plan *plan, const char *name);
int shim_op_close_fds(struct shim_plan *plan, int first);
int shim_op_await_start(struct shim_plan *plan, int fifo_fd);
int shim_op_execute(struct shim_plan *plan, const char *args, size_t args_size,
                    uint32_t args_count);
/* Lets init tell when it begins each operation. */
void shim_plan_trace(struct shim_plan *plan);
/* The finished buffer, owned by the plan: for tests and for `shim_spawn`. */
const void *shim_plan_finish(struct shim_plan *plan, int sync_fd, size_t *size);

/* ------------------------------------------------------------ life cycle */

struct shim_child {
    int32_t pid; /* in the runtime's pid namespace */
    int32_t pid_fd;
    int32_t sync_fd;
    uint32_t entered; /* bit N: the cgroup of enter[N] */
};

/* Clones init with `flags` (CLONE_NEW*) into the cgroup v2 directory `cgroup_fd`
 * (or -1), keeping the descriptors `keep` open in it besides 0, 1, 2.
 * `enter` are the files "tasks" of cgroup v1 directories, opened for writing, at
 * most 32: the child puts itself into them, since for a thread that moves itself
 * the kernel takes no lock of all (cgroup_procs_write_start() from Linux 5.5 on),
 * whose taking waits for a grace period of 5 to 20 ms.
 * 0 or -errno; -EOPNOTSUPP where CLONE_INTO_CGROUP is not there. */
int shim_spawn(struct shim_plan *plan, uint64_t flags, int cgroup_fd, const int *enter,
               size_t enter_count, const int *keep, size_t keep_count, struct shim_child *child);
/* The next report of init: 1, 0 at its end, -errno.  *fd is -1 or what came
 * with a REPORT_PTY or REPORT_BORN. */
int shim_read_report(int sync_fd, struct shim_report *report, int *fd);
/* Lets init go on, with a payload or without: 0, -errno. */
int shim_go(int sync_fd, const void *payload, size_t size);

/* The static program that init is. */
const unsigned char *shim_init_image(size_t *size);

/* ------------------------------------------------------------------ JSON */

struct shim_json {
    uint8_t *data;     /* marshal bytes; freed by shim_json_free */
    size_t size;       /* bytes in data */
    const char *error; /* static text, NULL on success */
    size_t position;   /* bytes from the start of the text, where the error is */
    size_t line;       /* from 1 */
    size_t column;     /* in characters, from 1 */
};

/* Turns a JSON text (RFC 8259, UTF-8) into the bytes that Python's
 * marshal.loads makes objects of.  0, -EINVAL with error and its place set, or
 * -ENOMEM. */
int shim_json_load(const uint8_t *text, size_t size, struct shim_json *result);
void shim_json_free(struct shim_json *result);

/* -------------------------------------------------------------- processes */

/* Each gives a descriptor or 0, or -errno. */
int shim_pidfd_open(int pid);
/* A copy of descriptor `fd` of the process behind `pid_fd` (Linux 5.6). */
int shim_pidfd_getfd(int pid_fd, int fd);
int shim_pidfd_send_signal(int pid_fd, int signal);
/* 1 when the process has ended, 0 after `milliseconds` (-1: no limit). */
int shim_pidfd_wait(int pid_fd, int milliseconds);
/* In the C library's words, which stay its own. */
const char *shim_describe_signal(int number);
int shim_set_subreaper(int on);
/* Marks `first` and all descriptors above it close-on-exec. */
int shim_close_on_exec_from(int first);
/* The hard limit, where it is lower; the soft one stays. */
int shim_raise_rlimit_of(int pid, uint32_t resource, uint64_t hard);
/* As OP_SET_SCHEDULER and OP_SET_IO_PRIORITY, for another process. */
int shim_set_scheduler_of(int pid, uint32_t policy, uint64_t flags, int nice, uint32_t priority,
                          uint64_t runtime, uint64_t deadline, uint64_t period);
int shim_set_io_priority_of(int pid, uint32_t value);
int shim_setns(int fd, uint32_t nstype);
int shim_unshare(uint32_t flags);
/* A child that sleeps in a new user namespace until it is killed: its pid, or -errno. */
int shim_new_user_namespace(void);

/* ------------------------------------------------------- mounts for init */

struct shim_source {
    const char *path;   /* as init sees it */
    uint32_t bind;      /* BIND_RECURSIVE, BIND_SOURCE_NOFOLLOW */
    int32_t userns_fd;  /* whose mappings the mount gets, or -1 */
    uint32_t recursive; /* whether the mounts below get them too */
    uint32_t call;      /* enum shim_call that failed */
};

/* A detached copy of the mount that `source` is on in the mount namespace
 * `mount_ns_fd`, made with the rights of the caller: a descriptor, or -errno. */
int shim_open_source(int mount_ns_fd, struct shim_source *source);
/* Whether there is mount_setattr(2), which knows id mappings since it is there. */
int shim_has_mount_setattr(void);
/* Answers a REPORT_SOURCE; -1: there is no such source. */
int shim_send_mount(int sync_fd, int mount_fd);

/* Leaves the caller in a new mount namespace where the directory `rootfs` is a mount: 0, or -errno
 * with the namespace changed or not. */
int shim_enter_restore_root(const char *rootfs);
/* Enters the mount namespace and makes the mount at its root read-only: 0 or -errno. */
int shim_make_root_readonly(int mount_ns_fd);
/* For a child: what it executes gains no privileges by it, and no signal is blocked: 0 or -errno.
 */
int shim_set_no_new_privs(void);
/* Sets the flags "one,two" of the file system that is mounted there, and leaves the mount as it is:
 * 0 or -errno. */
int shim_set_superblock_flags(const char *mount_point, const char *flags);

/* Holds back the signals that shim_foreground passes on, until it does. */
int shim_block_signals(void);

/* Gives the terminal behind `ptmx_fd` the size of ours, where ours is one. */
void shim_copy_window_size(int ptmx_fd);

/* Stands in for the container in the foreground: passes on every signal that
 * reaches the runtime, relays a terminal where `ptmx_fd` is not -1, reaps all
 * children, until the process behind `pid_fd` has ended.
 * Its wait status, or -errno. */
int shim_foreground(int pid, int pid_fd, int ptmx_fd);

/* --------------------------------------------------------------- cgroups */

/* Loads the device program (struct bpf_insn[], `size` bytes) and attaches it to
 * the cgroup v2 directory, in the place of all that are attached to it.
 * 0 or -errno; -EINVAL and -EACCES also when the verifier refuses it. */
int shim_attach_device_program(int cgroup_fd, const void *program, size_t size);

/* ---------------------------------------------------------------- seccomp */

struct shim_seccomp; /* a profile on its way to a filter */

struct shim_seccomp_condition {
    const char *operator_name; /* SCMP_CMP_EQ and its like */
    uint32_t index;            /* of the argument, from 0 */
    uint64_t value;
    uint64_t value_two; /* SCMP_CMP_MASKED_EQ: `value` is the mask, this the datum */
};

/* Names are those of config.json (SCMP_ACT_ERRNO, SCMP_ARCH_X86, openat2);
 * `data` is the errno of SCMP_ACT_ERRNO and the message of SCMP_ACT_TRACE.
 * All give 0 or -errno: -ENOENT for an unknown architecture or system call,
 * -EINVAL for an unknown action or operator.  The native architecture is always
 * there; the others are to be added before the rules. */
int shim_seccomp_new(const char *action, uint32_t data, struct shim_seccomp **result);
void shim_seccomp_free(struct shim_seccomp *profile);
int shim_seccomp_add_arch(struct shim_seccomp *profile, const char *name);
int shim_seccomp_add_rule(struct shim_seccomp *profile, const char *action, uint32_t data,
                          const char *name, const struct shim_seccomp_condition *conditions,
                          uint32_t count);
/* A filter that searches a tree: faster with many rules (libseccomp 2.5). */
int shim_seccomp_use_tree(struct shim_seccomp *profile);
/* struct sock_filter[], owned by the profile.  With `answer_enosys`, system
 * calls with a number above all that the profile names get ENOSYS. */
int shim_seccomp_compile(struct shim_seccomp *profile, int answer_enosys, const uint8_t **program,
                         size_t *size);
/* Of libseccomp: major << 16 | minor << 8 | micro. */
uint32_t shim_seccomp_version(void);
#endif
