#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows one container from inside and from outside, checks everything that it shows, and leaves nothing.
# usage: docs/demo.sh PYRUNC
set -euo pipefail

[ $# = 1 ] || { sed -n 's/^# \(usage: .*\)/\1/p' "$0" >&2; exit 2; }
pyrunc=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
if [ "${PYRUNC_DEMO:-}" != "$PPID.$$" ]; then
    # exec keeps the pid; the wrapper's own steps do too.
    PYRUNC_DEMO=$PPID.$$ exec "$here/../tests/mount-namespace" "$here/demo.sh" "$pyrunc"
fi
unset PYRUNC_DEMO

id=pyrunc-demo-$$
limit=$((64 * 1024 * 1024))
work=$(mktemp -d)
problems=0
step=0

clean_up() {
    "$pyrunc" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || :
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

title() { step=$((step + 1)); printf '\n\033[1m%d. %s\033[0m\n' "$step" "$*"; }
say() { printf '   %s\n' "$*"; }
check() { # check WHAT EXPECTED FOUND
    if [ "$2" = "$3" ]; then
        say "ok: $1 is ${3:-empty}"
    else
        say "WRONG: $1 is \"$3\", expected \"$2\""
        problems=$((problems + 1))
    fi
}
run() { # prints a command, then runs it
    printf '   $ pyrunc %s\n' "$*"
    status=0
    "$pyrunc" --root "$work/state" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    awk '{ print "   | " $0 }' "$work/out" "$work/err"
    [ "$status" = 0 ] || { say "WRONG: exit status $status"; problems=$((problems + 1)); }
}
field() { sed -n "s/^  \"$1\": \"\{0,1\}\([^\",]*\).*/\1/p" "$work/out"; }

cgroup_of() { # PID CONTROLLER: the directory on the host that limits the process, or nothing
    local line
    while IFS=: read -r _ controllers path; do
        case ",$controllers," in
        *,"$2",*) line=$(awk -v c="$2" '$3 == "cgroup" && index("," $4 ",", "," c ",") { print $2; exit }' /proc/mounts)$path ;;
        ,,) [ -n "${line:-}" ] || line=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)$path ;;
        esac
    done <"/proc/$1/cgroup"
    printf '%s' "${line:-}"
}

title "A bundle: a root file system from busybox, and the config that pyrunc writes"
mkdir -p "$work/bundle/rootfs/bin"
cp "$(command -v busybox)" "$work/bundle/rootfs/bin/busybox"
for name in $("$work/bundle/rootfs/bin/busybox" --list); do
    [ "$name" = busybox ] || ln -s busybox "$work/bundle/rootfs/bin/$name"
done
run --version
run spec --bundle "$work/bundle"

memory=0
if awk '$3 == "cgroup" && ("," $4 ",") ~ /,memory,/ { f = 1 } END { exit !f }' /proc/mounts; then
    memory=1
elif unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts) && [ -n "$unified" ] &&
    grep -qw memory "$unified/cgroup.controllers"; then
    memory=2
fi
cat >"$work/bundle/rootfs/look" <<'INSIDE'
#!/bin/sh
echo "hostname:   $(hostname)"
echo "my pid:     $$"
echo "pid 1 is:   $(tr '\0' ' ' </proc/1/cmdline)"
echo "processes:  $(ls -d /proc/[0-9]* | wc -l)"
for name in ipc mnt net pid uts cgroup; do echo "namespace:  $(readlink /proc/self/ns/$name)"; done
awk '{ print "mount:      " $2 " (" $3 ")" }' /proc/mounts
for file in /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; do
    [ ! -r $file ] || echo "memory:     $(cat $file)"
done
echo "root fs:    $(touch /written 2>/dev/null && echo writable || echo read-only)"
echo "masked:     $(wc -c </proc/keys) bytes of /proc/keys"
grep -E '^(NoNewPrivs|CapEff)' /proc/self/status
exec 2>/dev/null
[ "$1" != wait ] || exec sleep 1000
INSIDE
chmod +x "$work/bundle/rootfs/look"
/usr/bin/python3 - "$work/bundle/config.json" "$id" "$limit" "$memory" <<'CONFIG'
import json, sys
path, container_id, limit, memory = sys.argv[1:]
with open(path) as file:
    config = json.load(file)
config["hostname"] = "whale"
config["process"]["terminal"] = False
config["process"]["args"] = ["/look"]
config["linux"]["cgroupsPath"] = "/" + container_id
if memory != "0":
    config["linux"]["resources"]["memory"] = {"limit": int(limit)}
with open(path, "w") as file:
    json.dump(config, file, indent=1)
CONFIG
say "changed: hostname whale, no terminal, args /look$([ $memory = 0 ] || echo ", memory limit $limit")"

title "From inside: run it in the foreground"
run run --bundle "$work/bundle" "$id"
seen=$work/seen
cp "$work/out" "$seen"
value() { sed -n "s/^$1:[[:space:]]*//p" "$seen" | head -n 1; }
check "the hostname" whale "$(value hostname)"
check "the pid of its first process" 1 "$(value 'my pid')"
check "the root file system" read-only "$(value 'root fs')"
check "what the masked /proc/keys shows" "0 bytes of /proc/keys" "$(value masked)"
check "no_new_privs" 1 "$(value NoNewPrivs)"
apart='' mounted=''
for name in ipc mnt net pid uts; do
    if grep -qF "$name:[" "$seen" && ! grep -qF "$(readlink /proc/self/ns/$name)" "$seen"; then
        apart="$apart$name "
    fi
done
check "the list of namespaces that are not the host's" "ipc mnt net pid uts " "$apart"
for place in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do
    ! grep -q "^mount: *$place " "$seen" || mounted="$mounted$place "
done
check "the list of mounts" "/proc /dev /dev/pts /dev/shm /dev/mqueue /sys " "$mounted"
if [ $memory = 0 ]; then
    say "this machine gives no memory controller, so no limit is shown"
else
    check "the memory limit in its own cgroup" "$limit" "$(value memory)"
fi

title "From outside: each step of its life by itself"
sed -i 's|"/look"|"/look", "wait"|' "$work/bundle/config.json"
run_apart() { # the container keeps these descriptors, so a pipe would wait for it
    printf '   $ pyrunc %s\n' "$*"
    "$pyrunc" --root "$work/state" "$@" >"$work/log" 2>&1 </dev/null ||
        { say "WRONG: exit status $?"; cat "$work/log"; exit 1; }
}
run_apart create --bundle "$work/bundle" --pid-file "$work/pid" "$id"
run state "$id"
check "its status" created "$(field status)"
pid=$(cat "$work/pid")
check "its pid, in the pid file" "$(field pid)" "$pid"
say "waiting to be started: $(tr '\0' ' ' <"/proc/$pid/cmdline")(pid $pid), $(awk '/^Pss:/ { print $2, $3 }' "/proc/$pid/smaps_rollup") of memory"
if [ $memory != 0 ]; then
    directory=$(cgroup_of "$pid" memory)
    file=$directory/memory.limit_in_bytes
    [ -e "$file" ] || file=$directory/memory.max
    check "$file" "$limit" "$(cat "$file")"
fi
run start "$id"
for _ in $(seq 100); do ! grep -q CapEff "$work/log" || break; sleep 0.05; done
run state "$id"
check "its status" running "$(field status)"
run list
run kill "$id" KILL
for _ in $(seq 100); do
    "$pyrunc" --root "$work/state" state "$id" >"$work/out" 2>/dev/null
    [ "$(field status)" = running ] || break
    sleep 0.05
done
run state "$id"
check "its status" stopped "$(field status)"
run delete "$id"

title "What is left"
# What stays is the root of the records itself, with the empty file that creations lock.
check "the list of records" "" "$(ls "$work/state" 2>/dev/null)"
check "the size of what they lock" 0 "$(stat -c %s "$work/state/.cgroups.lock" 2>/dev/null)"
check "the list of mounts below the bundle" "" "$(grep -F "$work/bundle" /proc/self/mountinfo || :)"
check "the list of its cgroups" "" "$(find /sys/fs/cgroup -maxdepth 3 -name "$id" 2>/dev/null)"
check "its process" "" "$([ ! -e "/proc/$pid" ] || awk '/^State/ && $2 != "Z" { print $2 }' "/proc/$pid/status")"

echo
if [ $problems = 0 ]; then
    echo "demo: everything was as expected"
else
    echo "demo: $problems problems" >&2
    exit 1
fi
