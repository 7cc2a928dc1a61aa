# SPDX-License-Identifier: Apache-2.0
# Sourced by the checks of engines: gives them namespaces of their own (mounts, network, processes), a /dev and a /run that are
# not the machine's, a root file system, and the lines "ok NAME", "FAIL NAME: reason", "SKIP NAME: reason",
# and a last line such as "podman: 64 of 64 (2 skipped)": how many of those that were tried hold.
# What an engine leaves (a bridge, rules, daemons, mounts) ends with the namespaces; its cgroups are below $parent.
# It must not know any engine.

set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
self=$(realpath "$0")

usage() { echo "usage: $0 --runtime PATH      (as root)" >&2; exit 2; }
[ $# = 2 ] && [ "$1" = --runtime ] || usage
runtime=$(realpath "$2")
[ -x "$runtime" ] || { echo "$0: $runtime is no executable" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "$0: needs root" >&2; exit 1; }

if [ "${PYRUNC_STAGE:-}" != inside ]; then
    engine=$(basename "$0" .sh)
    if ! command -v "$needs" >/dev/null; then
        echo "SKIP $engine: $needs is not installed"
        echo "$engine: 0 of 0 (1 skipped)"
        exit 0
    fi
    PYRUNC_STAGE_PARENT=pyrunc-$engine-$$
    PYRUNC_STAGE_WORK=$(mktemp -d)
    PYRUNC_STAGE=inside
    export PYRUNC_STAGE PYRUNC_STAGE_PARENT PYRUNC_STAGE_WORK
    status=0
    timeout --foreground 600 "$here/../../tests/mount-namespace" \
        unshare -n -p -f --kill-child --mount-proc -- "$self" --runtime "$runtime" </dev/null || status=$?
    # The processes have ended with their pid namespace; their cgroups have not.
    for attempt in 1 2 3 4 5; do
        left=$("$here/../../tests/mount-namespace" sh -c \
            'find /sys/fs/cgroup -depth -type d -path "*/$1*" -exec rmdir {} \; 2>/dev/null
             find /sys/fs/cgroup -type d -name "$1*" 2>/dev/null' sh "$PYRUNC_STAGE_PARENT")
        [ -n "$left" ] || break
        sleep 0.2
    done
    # Pods that cannot be told where to be, are here; somebody else's are not empty.
    "$here/../../tests/mount-namespace" sh -c 'rmdir /sys/fs/cgroup/libpod_parent /sys/fs/cgroup/*/libpod_parent 2>/dev/null' || :
    [ -z "$left" ] || { echo "$0: cgroups left: $left" >&2; status=1; }
    rm -rf --one-file-system "$PYRUNC_STAGE_WORK"
    exit $status
fi

unset PYRUNC_STAGE
work=$PYRUNC_STAGE_WORK
parent=$PYRUNC_STAGE_PARENT
# What an engine keeps, it keeps in memory: an overlay's upper directory cannot lie on an overlay, and nothing waits for a disk.
# The root of a user namespace has to get to its root file system.
mount -t tmpfs -o mode=711 work "$work"
# conmon writes a file "oom" where it is.
cd "$work" || exit
# A runtime may chown what a container gets as standard streams, and engines keep sockets and locks in /run.
fresh=$(mktemp -d)
mount -t tmpfs -o mode=755 dev "$fresh"
mkdir "$fresh/pts" "$fresh/shm" "$fresh/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$fresh/pts"
ln -s pts/ptmx "$fresh/ptmx"
ln -s /proc/self/fd "$fresh/fd"
for name in stdin:0 stdout:1 stderr:2; do ln -s "fd/${name#*:}" "$fresh/${name%:*}"; done
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$fresh/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 "$fresh/tty" c 5 0
mkdir -p "$fresh/net" && mknod -m 666 "$fresh/net/tun" c 10 200
mount --move "$fresh" /dev
rmdir "$fresh"
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock
for place in /var/lib/cni /var/lib/containers /etc/cni /etc/containers/networks; do
    [ ! -d $place ] || mount -t tmpfs -o mode=755 engine $place
done
ip link set lo up

rootfs=$work/rootfs
mkdir -p "$rootfs"/{bin,tmp,etc,proc,sys,dev,root,data}
chmod 1777 "$rootfs/tmp"
cp "$(command -v busybox)" "$rootfs/bin/busybox"
for name in $("$rootfs/bin/busybox" --list); do [ "$name" = busybox ] || ln -s busybox "$rootfs/bin/$name"; done
printf 'root:x:0:0:root:/root:/bin/sh\nguest:x:1234:1234:guest:/:/bin/sh\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\nguest:x:1234:\n' >"$rootfs/etc/group"
tar -C "$rootfs" -cf "$work/rootfs.tar" .

# Where a user namespace without ids of its own takes them from.
printf 'root:100000:65536\ncontainers:200000:524288\ndaemon:800000:65536\n' >"$work/subids"
for file in /etc/subuid /etc/subgid; do [ ! -e $file ] || mount --bind "$work/subids" $file; done
# What `script` runs a command with: it knows the functions that are exported.
export SHELL=/bin/bash

passed=0 failed=0 skipped=0
ok() { passed=$((passed + 1)); echo "ok $1"; }
fail() { failed=$((failed + 1)); echo "FAIL $1: $(printf '%s' "$2" | tr '\n' ' ' | cut -c1-600)"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $1: $2"; }
# How often a command is tried while its output is empty, where the engine may lose it.
tries=1
expect() { # NAME STATUS PATTERN COMMAND...: the exit status, and an extended regular expression that the output has
    local name=$1 wanted=$2 pattern=$3 status out try
    shift 3
    for ((try = 0; try < tries; try++)); do
        status=0
        # Through a file, since a container that is left behind would hold a pipe open.
        timeout 60 "$@" >"$work/out" 2>&1 </dev/null || status=$?
        out=$(tr -d '\r\0' <"$work/out")
        [ "$status" = "$wanted" ] && [ -z "$out" ] && ! [[ $out =~ $pattern ]] || break
    done
    if [ "$status" != "$wanted" ]; then
        fail "$name" "exit status $status, not $wanted: $out"
    elif ! printf '%s\n' "$out" | grep -qE -e "$pattern"; then
        fail "$name" "\"$pattern\" is not in: $out"
    else
        ok "$name"
    fi
}
check() { # NAME STATUS PATTERN SCRIPT [ARGUMENT...]: a piece of bash, which has the functions that are exported
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" "$status" "$pattern" bash -c 'set -o pipefail; eval "$0"' "$@"
}
finish() {
    echo "$(basename "$self" .sh): $passed of $((passed + failed)) ($skipped skipped)"
    [ $failed = 0 ]
    exit
}
wait_for() { # SECONDS COMMAND...: until it succeeds
    local left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.1
    done
}
controller() { grep -q "^[0-9]*:\([^:]*,\)\{0,1\}$1[,:]" /proc/self/cgroup || grep -qsw "$1" /sys/fs/cgroup/cgroup.controllers; }
cgroup_of() { # PID CONTROLLER: the directory of its cgroup in the hierarchy of the controller
    local path
    path=$(sed -n "s/^[0-9]*:\([^:]*,\)\{0,1\}$2\(,[^:]*\)\{0,1\}://p" "/proc/$1/cgroup")
    if [ -n "$path" ]; then echo "/sys/fs/cgroup/$2$path"; else echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$1/cgroup")"; fi
}
cgroup_file() { # PID CONTROLLER NAME...: the contents of those of the files that are there, in one line
    local directory name
    directory=$(cgroup_of "$1" "$2")
    shift 2
    for name; do [ ! -e "$directory/$name" ] || cat "$directory/$name"; done | xargs
}
export -f wait_for cgroup_of cgroup_file
# Whether CRIU can dump a process here: prints why not.
no_criu() {
    command -v criu >/dev/null || { echo "criu is not installed"; return; }
    criu check >"$work/criu" 2>&1 || echo "criu cannot work on this kernel: $(grep -m 1 Error "$work/criu" | cut -c1-80)"
}
# Prints 1 in a container that has CAP_SYS_ADMIN, else 0: an engine may not know the kernel's last capabilities.
has_sys_admin='echo $((0x$(sed -n "s/^CapEff:.//p" /proc/self/status) >> 21 & 1))'
# Prints a limit of the container it runs in: LIMIT_OF memory|pids
inside_limit='
case $1 in memory) files="memory/memory.limit_in_bytes memory.max" ;; pids) files="pids/pids.max pids.max" ;; esac
for file in $files; do [ ! -r /sys/fs/cgroup/$file ] || cat /sys/fs/cgroup/$file; done'
