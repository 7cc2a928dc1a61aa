#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks a runtime where systemd is pid 1: containers as units, by hand and by podman with its default settings, of root and of an
# ordinary user with a session. conformance/vm/systemd.sh --runtime PATH    (as root, in a machine that may be thrown away)
# The user is the first of /etc/subuid that exists. Prints "ok NAME", "FAIL NAME reason", "SKIP NAME reason", and totals.
set -uo pipefail
usage() { echo "usage: $0 --runtime PATH      (as root, with systemd as pid 1)" >&2; exit 2; }
[ $# = 2 ] && [ "$1" = --runtime ] || usage
runtime=$(realpath "$2")
[ -x "$runtime" ] || { echo "$0: $runtime is no executable" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "$0: needs root" >&2; exit 1; }
[ -d /run/systemd/system ] || { echo "SKIP systemd pid 1 is not systemd"; exit 0; }

work=$(mktemp -d)
chmod 755 "$work"
export work runtime
passed=0 failed=0 skipped=0
ok() { passed=$((passed + 1)); echo "ok $1"; }
fail() { failed=$((failed + 1)); echo "FAIL $1 $(printf '%s' "$2" | tr '\n' ' ' | cut -c1-600)"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $1 $2"; }
expect() { # NAME STATUS PATTERN COMMAND...: the exit status, and an extended regular expression that the output has
    local name=$1 wanted=$2 pattern=$3 status=0 out
    shift 3
    # Through a file, since a container that is left behind would hold a pipe open.
    timeout 120 "$@" >"$work/out" 2>&1 </dev/null || status=$?
    out=$(tr -d '\r' <"$work/out")
    if [ "$status" != "$wanted" ]; then
        fail "$name" "exit status $status, not $wanted: $out"
    elif ! printf '%s\n' "$out" | grep -qE -e "$pattern"; then
        fail "$name" "\"$pattern\" is not in: $out"
    else
        ok "$name"
    fi
}

unified=no
[ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ] || unified=yes
if [ $unified = yes ]; then memory=MemoryMax; else memory=MemoryLimit; fi
user=
while IFS=: read -r name _; do
    if [ -z "$user" ] && uid=$(id -u "$name" 2>/dev/null) && [ "$uid" != 0 ]; then user=$name; fi
done </etc/subuid
as_user() { # COMMAND...: in a session's environment
    runuser -u "$user" -- env -C / HOME="$work/home" XDG_RUNTIME_DIR="/run/user/$uid" \
        DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus" PATH="$PATH" "$@"
}
user_unit() { as_user systemctl --user "$@"; }
export -f as_user user_unit

# Root file system ----------------------------------------------------------------------------------------

rootfs=$work/bundle/rootfs
mkdir -p "$rootfs"/{bin,tmp,etc,proc,sys,dev,root}
cp "$(command -v busybox)" "$rootfs/bin/busybox"
for name in $("$rootfs/bin/busybox" --list); do [ "$name" = busybox ] || ln -s busybox "$rootfs/bin/$name"; done
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\n' >"$rootfs/etc/group"
tar -C "$rootfs" -cf "$work/rootfs.tar" .
write_config() { # PATH FILE [EXTRA-LINUX]
    cat >"$2" <<JSON
{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "hostname": "unit",
 "process": {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
 "linux": {"cgroupsPath": "$1", "resources": {"memory": {"limit": 134217728}, "pids": {"limit": 64}},
  "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}${3:-}]}}
JSON
}

echo "$("$runtime" --version | head -n 1), $(systemctl --version | head -n 1), unified hierarchy: $unified"

# By hand -------------------------------------------------------------------------------------------------

write_config system.slice:pyrunc:hand "$work/bundle/config.json"
call() { "$runtime" --root "$work/state" --systemd-cgroup "$@"; }
export -f call
expect "run" 0 '' bash -c 'call run -d --bundle "$work/bundle" hand'
expect "the unit is there" 0 'pyrunc-hand\.scope' systemctl status pyrunc-hand.scope
expect "its memory limit" 0 "^$memory=134217728\$" systemctl show -p $memory pyrunc-hand.scope
expect "its pids limit" 0 '^TasksMax=64$' systemctl show -p TasksMax pyrunc-hand.scope
expect "exec is in its cgroup" 0 'system\.slice/pyrunc-hand\.scope' bash -c 'call exec hand cat /proc/self/cgroup'
expect "update" 0 '' bash -c 'call update --memory 67108864 hand'
expect "its memory limit then" 0 "^$memory=67108864\$" systemctl show -p $memory pyrunc-hand.scope
expect "pause and resume" 0 '"status": "running"' bash -c 'call pause hand && call resume hand && call state hand'
expect "delete" 0 '' bash -c 'call delete --force hand'
expect "the unit is gone" 0 '^0$' bash -c 'systemctl list-units --all --plain --no-legend pyrunc-hand.scope | wc -l'
expect "a path of the other driver is refused" 1 'slice:prefix:name' \
    bash -c 'sed "s#system.slice:pyrunc:hand#/hand#" "$work/bundle/config.json" >"$work/bundle/other.json" &&
        mkdir -p "$work/other" && cp "$work/bundle/other.json" "$work/other/config.json" && ln -sfn "$work/bundle/rootfs" "$work/other/rootfs" &&
        call run -d --bundle "$work/other" wrong'

# By hand, of a user --------------------------------------------------------------------------------------

if [ -z "$user" ]; then
    skip "a user's containers" "no user with subordinate ids"
elif [ $unified = no ]; then
    skip "a user's containers" "a user's systemd has the unified hierarchy alone"
else
    systemctl start "user@$uid.service"
    mkdir -p "$work/home" "$work/mine"
    cp -a "$work/bundle/rootfs" "$work/mine/rootfs"
    write_config user.slice:pyrunc:mine "$work/mine/config.json" ", {\"type\": \"user\"}], \"uidMappings\": [{\"containerID\": 0, \"hostID\": $uid, \"size\": 1}],
        \"gidMappings\": [{\"containerID\": 0, \"hostID\": $(id -g "$user"), \"size\": 1}"
    chown -R "$user:" "$work/home" "$work/mine"
    user_call() { as_user "$runtime" --root "/run/user/$uid/pyrunc-check" --systemd-cgroup "$@"; }
    export -f user_call
    export user uid
    expect "a user's run" 0 '' bash -c 'user_call run -d --bundle "$work/mine" mine'
    expect "a user's unit" 0 '^MemoryMax=134217728$' bash -c 'user_unit show -p MemoryMax pyrunc-mine.scope'
    expect "the limit of its cgroup" 0 '^64$' \
        bash -c 'cat "/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/user.slice/pyrunc-mine.scope/pids.max"'
    expect "a user's exec" 0 'pyrunc-mine\.scope$' bash -c 'user_call exec mine cat /proc/self/cgroup'
    expect "a user's update" 0 '^TasksMax=48$' \
        bash -c 'user_call update --pids-limit 48 mine && user_unit show -p TasksMax pyrunc-mine.scope'
    expect "a user's delete" 0 '' bash -c 'user_call delete --force mine'
    expect "a user's unit is gone" 0 '^0$' \
        bash -c 'user_unit list-units --all --plain --no-legend pyrunc-mine.scope | wc -l'
fi

# podman --------------------------------------------------------------------------------------------------

# The manual says runtime_supports_nocgroups; podman 4 reads the other.
cat >"$work/containers.conf" <<CONF
[engine]
runtime_supports_nocgroup = ["checked"]
runtime_supports_nocgroups = ["checked"]
[engine.runtimes]
checked = ["$runtime"]
CONF
chmod 644 "$work/containers.conf"
root_podman() { CONTAINERS_CONF=$work/containers.conf podman --runtime "$runtime" "$@"; }
user_podman() { as_user env CONTAINERS_CONF="$work/containers.conf" podman --runtime "$runtime" "$@"; }
export -f root_podman user_podman
of_podman() { # WHO: root or user
    local p=${1}_podman
    export p
    expect "podman of $1: import" 0 . bash -c '$p import "$work/rootfs.tar" box'
    expect "podman of $1: systemd is its manager" 0 '^systemd$' bash -c '$p info -f "{{.Host.CgroupManager}}"'
    expect "podman of $1: a command" 0 '^hello$' bash -c '$p run --rm --network none box echo hello'
    expect "podman of $1: exit status" 0 '^status 37$' \
        bash -c '$p run --rm --network none box sh -c "exit 37"; echo status $?'
    expect "podman of $1: in the background" 0 . \
        bash -c '$p run -d --name web --network none --memory 128m --pids-limit 64 ${2:-} box sleep 1000'
    expect "podman of $1: its cgroup is a unit's" 0 'libpod-[0-9a-f]{64}\.scope' \
        bash -c 'cat /proc/$($p inspect -f "{{.State.Pid}}" web)/cgroup'
    expect "podman of $1: its memory limit in the unit" 0 "^$memory=134217728\$" bash -c 'unit_show web '$memory
    expect "podman of $1: its pids limit in the unit" 0 '^TasksMax=64$' bash -c 'unit_show web TasksMax'
    expect "podman of $1: its limits in the cgroup" 0 '^134217728 64$' bash -c 'limits web'
    expect "podman of $1: exec" 0 '^there$' bash -c '$p exec -e WHERE=there web sh -c "echo \$WHERE"'
    expect "podman of $1: stats" 0 '134\.2MB' bash -c '$p stats --no-stream web'
    expect "podman of $1: pause" 0 '^paused$' \
        bash -c '$p pause web >/dev/null && $p inspect -f "{{.State.Status}}" web && $p unpause web >/dev/null'
    expect "podman of $1: stop and start" 0 '^running$' \
        bash -c '$p stop -t 0 web >/dev/null && $p start web >/dev/null && $p inspect -f "{{.State.Status}}" web'
    expect "podman of $1: rm" 0 '' bash -c 'unit=$(unit_of web); $p rm -f -t 0 web >/dev/null && gone "$unit"'
    expect "podman of $1: a pod" 0 '^both$' \
        bash -c '$p pod create --network none --infra-image box --infra-command "/bin/sleep 1000" pod >/dev/null &&
            $p run --rm --pod pod box echo both; status=$?; $p pod rm -f -t 0 pod >/dev/null; exit $status'
    # podman asks whether it knows a runtime, by its name in the settings, to do without cgroups.
    expect "podman of $1: no cgroups" 0 '^free$' bash -c '$p --runtime checked run --rm --network none --cgroups disabled box echo free'
    expect "podman of $1: nothing is left" 0 '^$' bash -c '$p ps -aq'
}
unit_of() { sed -n 's#.*/\(libpod-[0-9a-f]*\.scope\).*#\1#p' "/proc/$($p inspect -f '{{.State.Pid}}' "$1")/cgroup" | head -n 1; }
unit_show() { if [ "$p" = root_podman ]; then systemctl show -p "$2" "$(unit_of "$1")"; else user_unit show -p "$2" "$(unit_of "$1")"; fi; }
gone() {
    local list=systemctl
    [ "$p" = root_podman ] || list=user_unit
    for attempt in $(seq 50); do
        [ -n "$($list list-units --all --plain --no-legend "$1")" ] || return 0
        sleep 0.1
    done
    return 1
}
limits() {
    local pid
    pid=$($p inspect -f '{{.State.Pid}}' "$1")
    if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
        local path=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
        echo "$(cat "$path/memory.max") $(cat "$path/pids.max")"
    else
        echo "$(cat "/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' "/proc/$pid/cgroup")/memory.limit_in_bytes")" \
            "$(cat "/sys/fs/cgroup/pids$(sed -n 's/^[0-9]*:pids://p' "/proc/$pid/cgroup")/pids.max")"
    fi
}
export -f unit_of unit_show gone limits
if ! command -v podman >/dev/null; then
    skip "podman" "it is not installed"
else
    of_podman root
    expect "podman of root: --cpus" 0 '^CPUQuotaPerSecUSec=500ms$' \
        bash -c 'p=root_podman; $p run -d --name cpu --network none --cpus 0.5 box sleep 1000 >/dev/null && unit_show cpu CPUQuotaPerSecUSec;
            $p rm -f -t 0 cpu >/dev/null'
    if [ -z "$user" ] || [ $unified = no ]; then
        skip "podman of a user" "no user with subordinate ids, or no unified hierarchy"
    else
        of_podman user
    fi
fi

[ -z "$user" ] || { as_user podman system migrate >/dev/null 2>&1; systemctl stop "user@$uid.service"; }
rm -rf --one-file-system "$work"
echo "$("$runtime" --version | head -n 1): $passed ok, $failed failed, $skipped skipped"
[ $failed = 0 ]
