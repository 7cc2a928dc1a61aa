"""Decides how the help reads: made from the table of commands, with examples of each.

It must not be imported unless help, a usage error or the version is to be shown.
"""

from __future__ import annotations

from pyrunc import output
from pyrunc.verbs import FLAG, NAMES, Option, Verb, find, global_options

_OVERVIEW = """\
NAME:
   pyrunc - Open Container Initiative runtime

USAGE:
   pyrunc [global options] <command> [options] [arguments]

A container is made from a bundle: a directory with a file config.json, which describes it, and a
root filesystem. The commands and options are those of runc.

EXAMPLE:
   # mkdir -p web/rootfs && tar -C web/rootfs -xf image.tar
   # pyrunc spec -b web
   # pyrunc run -b web web
"""

_DESCRIPTIONS = {
    "create": """\
Makes the container of a bundle: its namespaces, cgroups, mounts and devices. Its process waits
until `pyrunc start`. The id must be unique in the root directory: letters, digits and _ + . -""",
    "start": "Lets the process of a container that `pyrunc create` has made begin.",
    "run": """\
Creates a container, starts it, waits for its process, ends with the same exit status (128 + N when
signal N killed it) and deletes the container. Signals are passed on. With --detach it ends once
the process runs.""",
    "state": """\
Prints the state as JSON: ociVersion, id, pid (0 when stopped), status (creating, created, running,
paused or stopped), bundle, rootfs, created, annotations, owner.""",
    "kill": """\
Sends a signal, SIGTERM unless another one is given, to the first process of a container. The
signal is a name with or without SIG, in any case, or a number. Options come before the id.""",
    "delete": """\
Removes a stopped or created container: its cgroups, its state directory, and what is left of its
processes. With --force a running one is killed first, and an id that does not exist is no
error.""",
    "exec": """\
Runs a command in a container that is created or running, with the environment, user, capabilities
and limits of the container's process unless options or a process object (--process) say otherwise.
Ends with the command's exit status, 128 + N when signal N killed it, or 255 when the command could
not be run. With --detach it ends once the command runs. Options come before the id.""",
    "ps": """\
Prints the lines of the host's ps(1) that are about processes of the container, with the header.
What follows the id are options of ps, `-ef` without any. With --format json it prints the process
ids alone.""",
    "pause": "Freezes all processes of a container that is created or running.",
    "resume": "Lets a paused container go on.",
    "list": "Lists the containers whose state is in the directory given by --root.",
    "spec": """\
Writes a config.json that runs a shell in the rootfs directory `rootfs` of the bundle. Edit it to
your needs. An existing file is never overwritten.""",
    "validate": """\
Checks a configuration against the specification. Prints `valid`, or each problem with the place in
the file (a JSON pointer) and ends with status 1. FILE is used if given, else config.json of the
bundle.""",
    "plan": """\
Prints the operations that would be carried out, in their order, one a line: the side that does it
(runtime, init, or both where they wait for each other), what is done, and the place in config.json
that asks for it. Touches nothing. With --diff only what is done differently for another bundle, or
another config of the same bundle, is printed, and the status is 1 where they differ.""",
    "update": """\
Changes limits of a created, running or paused container: all of them or, where one is refused,
none. What is not named keeps its value. The resources file is the object linux.resources of
config.json; devices, hugepageLimits, rdma and unified are changed by it too.""",
    "events": """\
Prints a JSON object a line: {"type": "stats", ...} with the figures of the container's cgroups,
and {"type": "oom", ...} for each process killed for want of memory, until the container ends.""",
    "checkpoint": """\
Saves the processes of a running container, with their memory and open files, to a directory that
restore makes a container of again, here or elsewhere. CRIU does it, and has to be installed. The
container is removed then, unless it shall run on. What the bundle mounts from the host, and the
root file system, are not in the images. Why it failed stands in dump.log of the work path.""",
    "restore": """\
Makes a container from the images of checkpoint: its processes go on where they were. The bundle may
be another one than before, with the same mounts and namespaces; standard streams are the caller's.
prestart and createRuntime hooks run. Why it failed stands in restore.log of the work path.""",
    "doctor": """\
Looks at the kernel, the cgroups, the rights of the caller and the helper programs, and tells for
each what containers can do with it: ok, limited or broken, why, and what would help. Changes
nothing. Ends with status 1 where no ordinary container could run.""",
    "completion": """\
Prints the completion script for a shell: bash, zsh or fish.""",
    "man": """\
Prints the manual page of pyrunc, or of one of its commands, in the format of man(7).""",
    "mounts": """\
Adds mounts to a created or running container, in its own mount namespace, or removes some. The file
holds a JSON array in the form of `mounts` in config.json (- is standard input); a single mount can
be given by options instead. To remove, destinations are enough. Relative sources are looked up in
the bundle.""",
    "features": """\
Prints what this runtime supports, as the `features` document of the runtime specification.""",
}

_EXAMPLES = {
    "create": """\
   # pyrunc create --bundle /srv/web --pid-file /run/web.pid web
   # pyrunc create --console-socket /run/console.sock web""",
    "start": """\
   # pyrunc create -b /srv/web web
   # pyrunc start web""",
    "run": """\
   # pyrunc run -b /srv/web web
   # pyrunc run --detach --pid-file /run/web.pid -b /srv/web web""",
    "state": """\
   # pyrunc state web
   # pyrunc state web | jq -r .status""",
    "kill": """\
   # pyrunc kill web
   # pyrunc kill web KILL
   # pyrunc kill web 9""",
    "delete": """\
   # pyrunc delete web
   # pyrunc delete --force web""",
    "exec": """\
   # pyrunc exec web ps
   # pyrunc exec --tty --user 1000:1000 --env TERM=xterm web sh
   # pyrunc exec --detach --pid-file /run/job.pid --process process.json web""",
    "ps": """\
   # pyrunc ps web
   # pyrunc ps web -o pid,rss,cmd
   # pyrunc ps --format json web""",
    "pause": """\
   # pyrunc pause web""",
    "resume": """\
   # pyrunc resume web""",
    "list": """\
   # pyrunc list
   # pyrunc --root /run/other list --format json""",
    "spec": """\
   # pyrunc spec --bundle /srv/web
   $ pyrunc spec --rootless""",
    "validate": """\
   $ pyrunc validate --bundle /srv/web
   $ pyrunc validate config.json""",
    "plan": """\
   # pyrunc plan --bundle /srv/web
   # pyrunc plan --bundle /srv/web --json web | jq -r '.[].text'
   # pyrunc plan --bundle /srv/web --diff /srv/web-next""",
    "update": """\
   # pyrunc update --memory 512m --pids-limit 100 web
   # echo '{"cpu": {"quota": 50000, "period": 100000}}' | pyrunc update -r - web""",
    "events": """\
   # pyrunc events --stats web | jq .data.memory.usage
   # pyrunc events --interval 1s web""",
    "checkpoint": """\
   # pyrunc checkpoint --image-path /srv/web.saved web
   # pyrunc checkpoint --pre-dump --image-path /srv/saved/1 web
   # pyrunc checkpoint --parent-path ../1 --image-path /srv/saved/2 web""",
    "restore": """\
   # pyrunc restore --image-path /srv/web.saved --bundle /srv/web --detach web""",
    "doctor": """\
   $ pyrunc doctor
   # pyrunc doctor --json | jq '.findings[] | select(.verdict != "ok")'""",
    "completion": """\
   # pyrunc completion bash >/etc/bash_completion.d/pyrunc
   $ pyrunc completion fish >~/.config/fish/completions/pyrunc.fish""",
    "man": """\
   $ pyrunc man | man -l -
   # pyrunc man run >/usr/local/share/man/man8/pyrunc-run.8""",
    "mounts": """\
   # pyrunc mounts add --source /srv/data --destination /data --options ro,nosuid web
   # pyrunc mounts remove --destination /data web
   # pyrunc mounts add web mounts.json""",
    "features": """\
   $ pyrunc features
   $ pyrunc features | jq .linux.cgroup""",
}


def description(name: str) -> str:
    return _DESCRIPTIONS[name]


def examples(name: str) -> str:
    return _EXAMPLES[name]


def render(topic: str) -> str:
    """Return the help of the verb `topic`, or of the whole program for ""."""
    verb = find(topic)
    return _overview() if verb is None else _render_verb(topic, verb)


def _overview() -> str:
    from pyrunc.cli import default_root

    rows = [(name, verb.summary) for name in NAMES if (verb := find(name)) is not None]
    rows.append(("help [command]", "show this, or the help of a command"))
    options = global_options()
    for option in options:
        if option.names[0] == "root":
            option.default = default_root()
    commands, globals_ = _columns(rows), _columns(_option_rows(options))
    return f"{_OVERVIEW}\nCOMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{globals_}"


def _render_verb(name: str, verb: Verb) -> str:
    usage = f"pyrunc {name} [options] {verb.usage}".rstrip()
    description = "\n".join(f"   {line}" for line in _DESCRIPTIONS[name].splitlines())
    return (
        f"NAME:\n   pyrunc {name} - {verb.summary}\n\n"
        f"USAGE:\n   {usage}\n\n"
        f"DESCRIPTION:\n{description}\n\n"
        f"EXAMPLES:\n{_EXAMPLES[name]}\n\n"
        f"OPTIONS:\n{_columns(_option_rows(verb.options))}"
    )


def _option_rows(options: list[Option]) -> list[tuple[str, str]]:
    rows = []
    for option in options:
        if option.hidden:
            continue
        names = ", ".join(("--" if len(name) > 1 else "-") + name for name in option.names)
        left = names if option.kind == FLAG else f"{names} {option.value}"
        default = "" if option.default in (False, "", 0, ()) else f' (default: "{option.default}")'
        rows.append((left, option.text + default))
    return rows


def _columns(rows: list[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows)
    return "".join([f"   {left:<{width}}  {right}\n" for left, right in rows])


def show_version() -> int:
    """Print the version as go-runc's parseVersion and `podman info` read it."""
    from pyrunc import version

    lines = [f"pyrunc version {version.VERSION}"]
    if version.COMMIT:
        lines.append(f"commit: {version.COMMIT}")
    lines.append(f"spec: {version.SPEC_VERSION}")
    lines.append(f"libseccomp: {libseccomp_version()}")
    output.write("\n".join(lines) + "\n")
    return 0


def libseccomp_version() -> str:
    """Return the version of the libseccomp that the shim was built with."""
    from pyrunc.shim.constants import SCMP_VER_MAJOR, SCMP_VER_MICRO, SCMP_VER_MINOR

    return f"{SCMP_VER_MAJOR}.{SCMP_VER_MINOR}.{SCMP_VER_MICRO}"
