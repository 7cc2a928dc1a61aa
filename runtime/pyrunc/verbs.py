"""Decides which commands and options there are: the table of the reader, the help and the tests.

It must not do anything, and must stay cheap to load: the rows are constants, made objects on
demand.

The names are runc's, with those of crun that it lacks. An option without help text is hidden:
obsolete, or accepted because an engine may pass it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Kinds of option: FLAG has no value unless joined with "="; the others always have one.
FLAG = "flag"
TEXT = "text"
NUMBER = "number"
# May be repeated; all values count, in their order.
LIST = "list"

_DEFAULTS: dict[str, Any] = {FLAG: False, TEXT: "", NUMBER: 0, LIST: ()}


class Option:
    """`names` (the long one first, without dashes), `kind`, `value` (how help calls it), `text`,
    `default`.
    """

    __slots__ = ("default", "kind", "names", "text", "value")

    def __init__(
        self, names: tuple[str, ...], kind: str, value: str, text: str, default: Any = None
    ) -> None:
        self.names = names
        self.kind = kind
        self.value = value
        self.text = text
        if default is None:
            default = _DEFAULTS[kind]
        self.default = default

    @property
    def key(self) -> str:
        """The name in Request.options."""
        return self.names[0].replace("-", "_")

    @property
    def hidden(self) -> bool:
        return not self.text


class Verb:
    """One command.

    `module` below pyrunc.commands; `cold`: needs the completed interpreter; `minimum` and `maximum`
    number of arguments; `takes_id`: the first of them is a container's id; `permute`: options may
    follow arguments; `usage`: the arguments, for help; `summary`.
    """

    __slots__ = (
        "cold",
        "maximum",
        "minimum",
        "module",
        "options",
        "permute",
        "summary",
        "takes_id",
        "usage",
    )

    def __init__(
        self,
        module: str,
        cold: bool,
        arguments: tuple[int, int],
        takes_id: bool,
        permute: bool,
        usage: str,
        summary: str,
        options: tuple[Any, ...],
    ) -> None:
        self.module = module
        self.cold = cold
        self.minimum, self.maximum = arguments
        self.takes_id = takes_id
        self.permute = permute
        self.usage = usage
        self.summary = summary
        self.options = [Option(*row) for row in options]


_HELP = (("help", "h"), FLAG, "", "show help")
_BUNDLE = (("bundle", "b"), TEXT, "DIR", "the bundle: the directory with config.json", ".")
_CONFIG = (
    ("config", "f"),
    TEXT,
    "FILE",
    "read the configuration from FILE instead, relative to the bundle",
    "config.json",
)
_CONSOLE_SOCKET = (
    ("console-socket",),
    TEXT,
    "PATH",
    "AF_UNIX socket that receives the ptmx end of the container's terminal",
)
_NO_PIVOT = (
    ("no-pivot",),
    FLAG,
    "",
    "do not use pivot_root(2) to enter the rootfs, for one on a ramdisk; weaker",
)
_NO_NEW_KEYRING = (
    ("no-new-keyring",),
    FLAG,
    "",
    "keep the caller's session keyring instead of making one for the container",
)
_PRESERVE_FDS = (
    ("preserve-fds",),
    NUMBER,
    "N",
    "pass N more descriptors to the container, after standard streams and $LISTEN_FDS",
)
_TRACE = (
    ("trace",),
    TEXT,
    "FILE",
    "write when each operation began and ended, in the Trace Event format of browsers",
)
_CREATE = (
    _BUNDLE,
    _CONFIG,
    _CONSOLE_SOCKET,
    (
        ("pidfd-socket",),
        TEXT,
        "PATH",
        "AF_UNIX socket that receives a pidfd of the container's first process",
    ),
    (("pid-file",), TEXT, "FILE", "write the id of the container's first process to FILE"),
    _NO_PIVOT,
    _NO_NEW_KEYRING,
    _PRESERVE_FDS,
    _TRACE,
)

_CRIU = (
    (
        ("image-path",),
        TEXT,
        "DIR",
        "directory of the image files; default: checkpoint",
    ),
    (("work-path",), TEXT, "DIR", "directory of logs and work files; default: the image path"),
    (("tcp-established",), FLAG, "", "allow established TCP connections"),
    (("ext-unix-sk",), FLAG, "", "allow UNIX sockets whose other end is outside"),
    (("link-remap",), FLAG, "", "allow files that were removed while they were open"),
    (("shell-job",), FLAG, "", "allow a terminal that is not the container's own"),
    (("file-locks",), FLAG, "", "allow file locks"),
    (("auto-dedup",), FLAG, "", "punch out of older images what newer ones hold"),
    (("lazy-pages",), FLAG, "", "take memory to the other side when it is touched (userfaultfd)"),
    (
        ("manage-cgroups-mode",),
        TEXT,
        "MODE",
        "what of the cgroups is restored: soft, full, strict or ignore",
    ),
    (("empty-ns",), LIST, "TYPE", "leave the contents of this namespace out: network"),
    (("network-lock",), TEXT, "HOW", "block the network by iptables, nftables or skip"),
)

GLOBAL_OPTIONS = (
    (("root",), TEXT, "DIR", "directory that holds the state of all containers"),
    (
        ("log",),
        TEXT,
        "FILE",
        "append the log to FILE instead of standard error",
    ),
    (("log-format",), TEXT, "FORMAT", "format of the log: text or json", "text"),
    (
        ("log-level",),
        TEXT,
        "LEVEL",
        "least level to log: error, warning, info or debug (default: warning; in FILE error)",
    ),
    (("debug",), FLAG, "", "the same as --log-level debug; shows tracebacks of internal errors"),
    (
        ("systemd-cgroup",),
        FLAG,
        "",
        "let systemd manage cgroups: the container is a unit; cgroupsPath is then slice:prefix:name",
    ),
    (
        ("cgroup-manager",),
        TEXT,
        "MANAGER",
        "who manages cgroups: cgroupfs, systemd, or disabled for no cgroup at all",
        "cgroupfs",
    ),
    (
        ("rootless",),
        TEXT,
        "WHEN",
        "tolerate missing permission for cgroups: true, false or auto",
        "auto",
    ),
    # runc took it until 1.4, and older callers pass it on.
    (("criu",), TEXT, "PATH", ""),
    _HELP,
    (("version", "v"), FLAG, "", "print the version"),
    (("V",), FLAG, "", ""),
)

# Verb: module, cold, arguments, takes an id, permutes, usage, summary, options.
_ROWS = {
    "create": (
        "create",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "create a container",
        # crun's create takes it as well.
        (*_CREATE, (("no-subreaper",), FLAG, "", ""), _HELP),
    ),
    "start": (
        "start",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "run the process of a created container",
        (_HELP,),
    ),
    "run": (
        "run",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "create and start a container, and wait for it unless detached",
        (
            *_CREATE,
            (("detach", "d"), FLAG, "", "do not wait for the container"),
            (("keep",), FLAG, "", "do not delete the container when it has exited"),
            (("no-subreaper",), FLAG, "", "do not adopt orphans of the container"),
            _HELP,
        ),
    ),
    "state": (
        "state",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "print the state of a container",
        (_HELP,),
    ),
    "kill": (
        "kill",
        False,
        (1, 2),
        True,
        False,
        "<container-id> [signal]",
        "send a signal to a container",
        (
            (("all", "a"), FLAG, "", ""),
            (("regex", "r"), FLAG, "", "signal all containers whose id matches the first argument"),
            _HELP,
        ),
    ),
    "delete": (
        "delete",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "remove what is left of a container",
        (
            (("force", "f"), FLAG, "", "kill the container first if it still runs"),
            (("regex", "r"), FLAG, "", "remove all containers whose id matches the argument"),
            _HELP,
        ),
    ),
    "exec": (
        "exec",
        False,
        (1, 1 << 30),
        True,
        False,
        "<container-id> [command] [arguments]",
        "run one more process in a container",
        (
            _CONSOLE_SOCKET,
            (
                ("pidfd-socket",),
                TEXT,
                "PATH",
                "AF_UNIX socket that receives a pidfd of the process",
            ),
            (("pid-file",), TEXT, "FILE", "write the id of the process to FILE once it runs"),
            (("detach", "d"), FLAG, "", "do not wait for the process"),
            (
                ("process", "p"),
                TEXT,
                "FILE",
                "read the process object of the specification from FILE",
            ),
            (("tty", "t"), FLAG, "", "give the process a terminal"),
            (("cwd",), TEXT, "DIR", "working directory in the container"),
            (("env", "e"), LIST, "NAME=VALUE", "set an environment variable; may be repeated"),
            (("user", "u"), LIST, "UID[:GID]", "user and group, as numbers"),
            (("additional-gids", "g"), LIST, "GID", "one more group; may be repeated"),
            (("cap", "c"), LIST, "CAP", "give one more capability; may be repeated"),
            (("no-new-privs",), FLAG, "", "let execve(2) give no privileges"),
            (("apparmor",), TEXT, "PROFILE", "AppArmor profile of the process"),
            (("process-label",), TEXT, "LABEL", "SELinux label of the process"),
            (
                ("cgroup",),
                LIST,
                "[CTRL[,CTRL]:]PATH",
                "cgroup below the container's to be in; with controllers on cgroup v1; may be repeated",
            ),
            (("ignore-paused",), FLAG, "", "do not refuse a paused container, but wait for resume"),
            _PRESERVE_FDS,
            _TRACE,
            # The process's orphans are the container's, so that nothing depends on it.
            (("no-subreaper",), FLAG, "", ""),
            _HELP,
        ),
    ),
    "ps": (
        "ps",
        False,
        (1, 1 << 30),
        True,
        False,
        "<container-id> [ps options]",
        "list the processes of a container",
        ((("format", "f"), TEXT, "FORMAT", "table or json", "table"), _HELP),
    ),
    "pause": (
        "pause",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "suspend all processes of a container",
        (_HELP,),
    ),
    "resume": (
        "resume",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "let a paused container go on",
        (_HELP,),
    ),
    "list": (
        "list",
        False,
        (0, 0),
        False,
        True,
        "",
        "list the containers of the root directory",
        (
            (("format", "f"), TEXT, "FORMAT", "table or json", "table"),
            (("quiet", "q"), FLAG, "", "print ids only"),
            _HELP,
        ),
    ),
    "spec": (
        "spec",
        False,
        (0, 0),
        False,
        True,
        "",
        "write a config.json to begin with",
        (
            (("bundle", "b"), TEXT, "DIR", "where to write it", "."),
            (("rootless",), FLAG, "", "for a container that the caller's own user runs"),
            _HELP,
        ),
    ),
    "checkpoint": (
        "checkpoint",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "save a running container to files, by CRIU",
        (
            *_CRIU,
            (("parent-path",), TEXT, "DIR", "an earlier pre-dump, relative to the image path"),
            (("leave-running",), FLAG, "", "let the container run on"),
            (("pre-dump",), FLAG, "", "save the memory only and let the container run on"),
            (("tcp-skip-in-flight",), FLAG, "", "leave out TCP connections in the making"),
            (("status-fd",), TEXT, "FD", "write \\0 to FD when lazy pages are ready to be taken"),
            (("page-server",), TEXT, "ADDR:PORT", "send memory to the page server there"),
            _HELP,
        ),
    ),
    "restore": (
        "restore",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "make a container from what checkpoint has saved",
        (
            _BUNDLE,
            _CONFIG,
            _CONSOLE_SOCKET,
            (("pid-file",), TEXT, "FILE", "write the id of the container's first process to FILE"),
            (("detach", "d"), FLAG, "", "do not wait for the container"),
            (("no-subreaper",), FLAG, "", "do not adopt orphans of the container"),
            *_CRIU,
            (("tcp-close",), FLAG, "", "restore established TCP connections as closed ones"),
            (("lsm-profile",), TEXT, "TYPE:NAME", "another profile: apparmor:NAME, selinux:LABEL"),
            (("lsm-mount-context",), TEXT, "CONTEXT", "another SELinux context for the mounts"),
            # CRIU enters the rootfs in its own way.
            (("no-pivot",), FLAG, "", ""),
            (("parent-path",), TEXT, "DIR", ""),
            _HELP,
        ),
    ),
    "validate": (
        "validate",
        True,
        (0, 1),
        False,
        True,
        "[file]",
        "check a config.json and tell every problem with its place",
        (_BUNDLE, _HELP),
    ),
    "plan": (
        "plan",
        False,
        (0, 1),
        False,
        True,
        "[container-id]",
        "print what create would do, and do nothing",
        (
            _BUNDLE,
            _CONFIG,
            (("json",), FLAG, "", "print a JSON array of operations"),
            (
                ("diff",),
                TEXT,
                "OTHER",
                "print what is done differently for the bundle (or config file) OTHER",
            ),
            _CONSOLE_SOCKET,
            (("detach", "d"), FLAG, "", "plan for a detached container"),
            _NO_PIVOT,
            _NO_NEW_KEYRING,
            _PRESERVE_FDS,
            _HELP,
        ),
    ),
    "update": (
        "update",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "change the resources of a living container",
        (
            (
                ("resources", "r"),
                TEXT,
                "FILE",
                "take all from this JSON file, - for standard input; other options do not count then",
            ),
            (("blkio-weight",), TEXT, "N", "weight of block I/O, 10 to 1000"),
            (("cpu-period",), TEXT, "US", "period of the CPU quota, in microseconds"),
            (("cpu-quota",), TEXT, "US", "CPU time in a period, in microseconds; -1: no limit"),
            (("cpu-burst",), TEXT, "US", "CPU time that may be saved up, in microseconds"),
            (("cpu-share",), TEXT, "N", "relative weight of the CPU, 2 to 262144"),
            (("cpu-rt-period",), TEXT, "US", "period of realtime scheduling, in microseconds"),
            (("cpu-rt-runtime",), TEXT, "US", "realtime CPU time in a period, in microseconds"),
            (("cpu-idle",), TEXT, "N", "1: run only when nothing else wants to"),
            (("cpuset-cpus",), TEXT, "LIST", "CPUs to run on, such as 0-2,7"),
            (("cpuset-mems",), TEXT, "LIST", "memory nodes to use"),
            (("memory",), TEXT, "BYTES", "memory limit, such as 512m; -1: no limit"),
            (("memory-reservation",), TEXT, "BYTES", "memory that is kept from reclaim"),
            (("memory-swap",), TEXT, "BYTES", "limit of memory plus swap; -1: no limit"),
            (("pids-limit",), TEXT, "N", "number of tasks; -1: no limit"),
            (("l3-cache-schema",), TEXT, "SCHEMA", "L3 cache schema of Intel RDT"),
            (("mem-bw-schema",), TEXT, "SCHEMA", "memory bandwidth schema of Intel RDT"),
            (("kernel-memory",), TEXT, "BYTES", ""),
            (("kernel-memory-tcp",), TEXT, "BYTES", ""),
            _HELP,
        ),
    ),
    "events": (
        "events",
        False,
        (1, 1),
        True,
        True,
        "<container-id>",
        "print what a container uses, and when it ran out of memory",
        (
            (("interval",), TEXT, "DURATION", "time between two statistics, such as 5s", "5s"),
            (("stats",), FLAG, "", "print the statistics once"),
            _HELP,
        ),
    ),
    "doctor": (
        "doctor",
        False,
        (0, 0),
        False,
        True,
        "",
        "tell what this host can do for containers, and why not",
        ((("json",), FLAG, "", "print a JSON object"), _HELP),
    ),
    "completion": (
        "completion",
        False,
        (1, 1),
        False,
        True,
        "bash|zsh|fish",
        "print a completion script",
        (_HELP,),
    ),
    "man": (
        "man",
        False,
        (0, 1),
        False,
        True,
        "[command]",
        "print a manual page",
        (_HELP,),
    ),
    "mounts": (
        "mounts",
        False,
        (2, 3),
        False,
        True,
        "add|remove <container-id> [file]",
        "add mounts to a running container, or remove them",
        (
            (("destination",), TEXT, "PATH", "where the mount is in the container"),
            (("source",), TEXT, "PATH", "what is mounted there: a path of the host"),
            (("type",), TEXT, "TYPE", "type of the file system (bind if there is none given)"),
            (("options",), TEXT, "LIST", "options of the mount, separated by commas"),
            _HELP,
        ),
    ),
    "features": (
        "features",
        False,
        (0, 0),
        False,
        True,
        "",
        "print what this runtime supports, as JSON",
        (_HELP,),
    ),
}

NAMES = tuple(_ROWS)


def find(name: str) -> Verb | None:
    row = _ROWS.get(name)
    return None if row is None else Verb(*row)


def global_options() -> list[Option]:
    return [Option(*row) for row in GLOBAL_OPTIONS]
