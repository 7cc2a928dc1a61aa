#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that containerd runs containers with a runtime, by ctr: conformance/engines/containerd.sh --runtime PATH
needs=containerd
. "$(dirname "$(realpath "$0")")/stage.sh"

# The namespace of containerd is the parent of the cgroups.
namespace=$parent
. "$here/containerd-stage.sh"
# Without an image there is no environment, and ctr gives none.
start() { ctr run --runc-binary "$runtime" --env PATH=/bin --rootfs "$@"; }
pid_of() { ctr task ls | awk -v name="$1" '$1 == name { print $2 }'; }
# CONTAINER CONTROLLER NAME...: what the files of its cgroup say.
limit() { local name=$1; shift; cgroup_file "$(pid_of "$name")" "$@"; }
# A task in the background that is given OPTION... before its root file system.
detach() { start -d "$@" >/dev/null 2>"$work/err" </dev/null; }
remove() { ctr task delete --force "$@"; ctr container delete "$@"; }
status_is() { ctr task ls | grep -qE "^$1 +[0-9]+ +$2"; }
export -f start pid_of limit detach remove status_is

run() { # NAME STATUS PATTERN OPTION... -- COMMAND...
    local name=$1 status=$2 pattern=$3 options=()
    shift 3
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    number=$((number + 1))
    expect "$name" "$status" "$pattern" bash -c 'start "$@"' start --rm "${options[@]}" "$rootfs" "one$number" "$@"
}
number=0

# Exit statuses and standard streams -----------------------------------------------------------------------
run "a command" 0 '^hello$' -- echo hello
run "its exit status" 37 '' -- sh -c 'exit 37'
run "a command that is not there" 1 'executable file not found|no such file' -- /nowhere
run "a command that is not executable" 1 'permission denied' -- /etc/passwd
check "standard input" 0 '^typed$' 'echo typed | start --rm $rootfs input head -n 1'
check "much output is whole" 0 '^16777216$' 'start --rm $rootfs output head -c 16777216 /dev/zero | wc -c'
check "a terminal" 0 '/dev/(pts/0|console)' 'script -qec "start --rm -t $rootfs term tty" /dev/null'
check "a terminal with what is typed" 7 '' '(wait_for 20 grep -q "#" $work/typed; echo "exit 7"; sleep 20 &) | script -qfec "start --rm -t $rootfs typed sh" $work/typed'
check "10 at a time" 0 '^10$' 'for n in {1..10}; do start --rm $rootfs many$n echo "number $n" & done | grep -c number'

# The process ----------------------------------------------------------------------------------------------
run "an environment variable" 0 '^there$' --env WHERE=there -- sh -c 'echo $WHERE'
run "a working directory" 0 '^/data$' --cwd /data -- pwd
run "capabilities by default" 0 '^0$' -- sh -c "$has_sys_admin"
run "--cap-add" 0 '^1$' --cap-add CAP_SYS_ADMIN -- sh -c "$has_sys_admin"
run "--cap-drop" 1 'not permitted' --cap-drop CAP_CHOWN -- chown 1:1 /data
run "no new privileges" 0 'NoNewPrivs:.*1' -- grep NoNewPrivs /proc/self/status
run "--allow-new-privs" 0 'NoNewPrivs:.*0' --allow-new-privs -- grep NoNewPrivs /proc/self/status
run "--privileged" 0 '^1$' --privileged -- sh -c "$has_sys_admin"
run "the default seccomp profile" 0 '^Seccomp:.*2$' --seccomp -- grep Seccomp: /proc/self/status
echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}' >"$work/seccomp.json"
run "--seccomp-profile" 1 'not permitted' --seccomp --seccomp-profile "$work/seccomp.json" -- mkdir /tmp/a
check "--uidmap and --gidmap" 0 '^0 100000 5000 0 200000 6000$' 'ctr run --rm --runc-binary $runtime --snapshotter native --uidmap 0:100000:5000 --gidmap 0:200000:6000 localhost/box:latest mapped sh -c "echo \$(cat /proc/self/uid_map /proc/self/gid_map)"'

# Files and namespaces -------------------------------------------------------------------------------------
run "a read-only root file system" 1 'Read-only file system' --read-only -- touch /written
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "a bind mount" 1 '^shared$' --mount "type=bind,src=$work/volume,dst=/data,options=rbind:ro" -- sh -c 'cat /data/file; touch /data/written'
run "a tmpfs" 0 'noexec.*size=64k' --mount "type=tmpfs,src=tmpfs,dst=/data,options=noexec:size=64k" -- grep ' /data ' /proc/mounts
run "--device" 0 '^crw' --device /dev/net/tun -- ls -l /dev/net/tun
run "--net-host" 0 "$(readlink /proc/self/ns/net | tr -dc 0-9)" --net-host -- readlink /proc/self/ns/net
ip netns add made
run "--with-ns network:PATH" 0 "$(stat -L -c %i /run/netns/made)" --with-ns network:/run/netns/made -- readlink /proc/self/ns/net
ip netns del made

# Limits, read back from the cgroup files ------------------------------------------------------------------
limited() { # NAME CONTROLLER PATTERN FILES OPTION...
    local name=$1 controller=$2 pattern=$3 files=$4
    shift 4
    if ! controller "$controller"; then skip "$name" "this machine has no $controller controller here"; return; fi
    if detach "$@" "$rootfs" limited sleep 1000; then
        check "$name" 0 "$pattern" "limit limited $controller $files"
        remove limited >/dev/null 2>&1
    else
        fail "$name" "$(cat "$work/err")"
    fi
}
limited --memory-limit memory '^67108864$' 'memory.limit_in_bytes memory.max' --memory-limit 67108864
limited --cpus cpu '^50000 100000$' 'cpu.cfs_quota_us cpu.cfs_period_us cpu.max' --cpus 0.5
limited --cpu-quota cpu '^20000 40000$' 'cpu.cfs_quota_us cpu.cfs_period_us cpu.max' --cpu-quota 20000 --cpu-period 40000
limited --cpu-shares cpu '^512$|^20$' 'cpu.shares cpu.weight' --cpu-shares 512
run "a cgroup file system" 0 '^[1-9]' --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro -- sh -c 'ls /sys/fs/cgroup | wc -l'

# Tasks ----------------------------------------------------------------------------------------------------
if detach --pid-file "$work/pid" "$rootfs" long sh -c 'trap "exit 9" USR1; while :; do sleep 0.05; done'; then
    check "a task in the background" 0 'long +[0-9]+ +RUNNING' 'ctr task ls'
    check "--pid-file" 0 '^same$' '[ "$(cat $work/pid)" = "$(pid_of long)" ] && echo same'
    check "task exec" 0 '^inside$' 'ctr task exec --exec-id one long echo inside'
    check "task exec's exit status" 41 '' 'ctr task exec --exec-id two long sh -c "exit 41"'
    check "task exec of a command that is not there" 1 'executable file not found|no such file' 'ctr task exec --exec-id three long /nowhere'
    check "task exec --user and --cwd" 0 '^77 /data$' 'ctr task exec --exec-id four --user 77 --cwd /data long sh -c "echo \$(id -u) \$(pwd)"'
    check "task exec --tty" 0 '/dev/pts/[0-9]' 'script -qec "ctr task exec --exec-id five --tty long tty" /dev/null'
    check "task exec with standard input" 0 '^typed$' 'echo typed | ctr task exec --exec-id six long head -n 1'
    check "task exec's much output is whole" 0 '^16777216$' 'ctr task exec --exec-id seven long head -c 16777216 /dev/zero | wc -c'
    check "task exec --detach, and kill --exec-id" 0 'sleep 999' 'ctr task exec --detach --exec-id eight long sleep 999; wait_for 10 bash -c "ctr task exec --exec-id see long ps | grep sleep.999"; ctr task exec --exec-id look long ps; ctr task kill --exec-id eight -s KILL long'
    check "task ps" 0 '^[0-9]+' 'ctr task ps long'
    check "task metrics" 0 'pids.current +[1-9]' 'ctr task metrics long'
    check "task metrics as json" 0 '"current": ?"?[1-9]' 'ctr task metrics --format json long'
    check "task pause" 0 '^long +[0-9]+ +PAUSED' 'ctr task pause long && ctr task ls'
    check "task resume" 0 '^long +[0-9]+ +RUNNING' 'ctr task resume long && ctr task ls'
    cannot_checkpoint=$(no_criu)
    if [ -n "$cannot_checkpoint" ]; then
        skip "task checkpoint" "$cannot_checkpoint"
    else
        check "task checkpoint" 0 'core-1.img' 'mkdir $work/image && ctr task checkpoint --image-path $work/image long && ls $work/image'
    fi
    check "task kill of a signal that is handled" 0 '' 'ctr task kill -s USR1 long; wait_for 10 status_is long STOPPED'
    check "task delete tells the exit status" 0 'exit code 9' 'ctr task delete long'
    check "container delete" 0 '' 'ctr container delete long'
else
    fail "a task in the background" "$(cat "$work/err")"
fi
if detach "$rootfs" killed sleep 1000; then
    check "task kill" 0 'exit code 137' 'ctr task kill -s KILL killed; wait_for 10 status_is killed STOPPED; ctr task delete killed; ctr container delete killed'
fi
if detach "$rootfs" family sh -c 'sleep 999 & sleep 999 & wait'; then
    check "task kill --all" 0 '^0$' 'ctr task kill --all -s KILL family; wait_for 10 status_is family STOPPED; ctr task ps family | grep -c ^[0-9] || :; remove family >/dev/null 2>&1'
fi
check "a container of an image" 0 '^root:' 'ctr run --rm --runc-binary $runtime --snapshotter native localhost/box:latest imaged head -n 1 /etc/passwd'
check "a task that is started later, by the runtime in PATH" 0 '^later$' 'ctr container create --env PATH=/bin --rootfs $rootfs later echo later && ctr task start later; ctr container delete later'
if detach "$rootfs" forced sleep 1000; then
    check "task delete --force" 0 '' 'ctr task delete --force forced || [ $? = 137 ]'
    check "container delete after force" 0 '' 'ctr container delete forced'
else
    fail "task delete --force" "$(cat "$work/err")"
fi
check "no task is left" 0 '^TASK +PID +STATUS *$' 'ctr task ls | tail -n 1'
check "no container is left" 0 '^0$' 'ctr container ls -q | wc -l'
kill $daemon
wait $daemon 2>/dev/null
finish
