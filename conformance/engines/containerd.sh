#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that containerd runs ordinary containers with a runtime: conformance/engines/containerd.sh --runtime PATH
needs=containerd
. "$(dirname "$(realpath "$0")")/stage.sh"

cat >"$work/config.toml" <<CONF
version = 2
root = "$work/root"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd.sock"
[ttrpc]
address = "/run/containerd.sock.ttrpc"
CONF
containerd --config "$work/config.toml" >"$work/containerd.log" 2>&1 </dev/null &
daemon=$!
# The namespace is the parent of the cgroups.
ctr() { command ctr --address /run/containerd.sock --namespace "$parent" "$@"; }
export -f ctr
export work runtime parent
echo "$(containerd --version), $("$runtime" --version | head -n 1)"
if ! wait_for 30 ctr version; then
    fail "containerd starts" "$(tail -n 3 "$work/containerd.log")"
    finish
fi

# Without an image there is no environment, and ctr gives none.
path=(--env PATH=/bin)
run() { # NAME STATUS PATTERN OPTION... -- COMMAND...
    local name=$1 status=$2 pattern=$3 options=()
    shift 3
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    number=$((number + 1))
    expect "$name" "$status" "$pattern" bash -c 'ctr "$@"' ctr \
        run --rm --runc-binary "$runtime" "${path[@]}" "${options[@]}" --rootfs "$rootfs" "one$number" "$@"
}
number=0
run "a command" 0 '^hello$' -- echo hello
run "its exit status" 37 '' -- sh -c 'exit 37'
run "a command that is not there" 1 'executable file not found|no such file' -- /nowhere
run "an environment variable" 0 '^there$' --env WHERE=there -- sh -c 'echo $WHERE'
run "a working directory" 0 '^/data$' --cwd /data -- pwd
run "a read-only root file system" 1 'Read-only file system' --read-only -- touch /written
run "the default seccomp profile" 0 '^Seccomp:.*2$' --seccomp -- grep Seccomp: /proc/self/status
run "a privileged container" 0 "CapEff:.*$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)" --privileged -- grep CapEff /proc/self/status
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "a bind mount" 1 '^shared$' --mount "type=bind,src=$work/volume,dst=/data,options=rbind:ro" -- sh -c 'cat /data/file; touch /data/written'
run "the host's network" 0 "$(readlink /proc/self/ns/net | tr -dc 0-9)" --net-host -- readlink /proc/self/ns/net
if controller memory; then
    run "a memory limit" 0 '^67108864$' --memory-limit 67108864 \
        --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro -- sh -c "$inside_limit" sh memory
else
    skip "a memory limit" "this machine has no memory controller here"
fi
expect "a terminal" 0 '/dev/(pts/0|console)' script -qec \
    "timeout 20 ctr --address /run/containerd.sock --namespace $parent run --rm -t --runc-binary $runtime --env PATH=/bin --rootfs $rootfs term tty" /dev/null

start() { bash -c 'ctr "$@"' ctr run -d --runc-binary "$runtime" "${path[@]}" --rootfs "$rootfs" "$@" >"$work/err" 2>&1 </dev/null; }
if start long sleep 1000; then
    expect "a task in the background" 0 'long +[0-9]+ +RUNNING' bash -c 'ctr task ls'
    expect "task exec" 0 '^inside$' bash -c 'ctr task exec --exec-id one long echo inside'
    expect "task exec's exit status" 41 '' bash -c 'ctr task exec --exec-id two long sh -c "exit 41"'
    expect "task exec of a command that is not there" 1 'executable file not found|no such file' bash -c 'ctr task exec --exec-id three long /nowhere'
    expect "task exec --user and --cwd" 0 '^77 /data$' bash -c 'ctr task exec --exec-id four --user 77 --cwd /data long sh -c "echo \$(id -u) \$(pwd)"'
    expect "task ps" 0 '^[0-9]+' bash -c 'ctr task ps long'
    expect "task pause" 0 '' bash -c 'ctr task pause long'
    expect "its status when paused" 0 'long +[0-9]+ +PAUSED' bash -c 'ctr task ls'
    expect "task resume" 0 '' bash -c 'ctr task resume long'
    expect "its status when resumed" 0 'long +[0-9]+ +RUNNING' bash -c 'ctr task ls'
    expect "task kill" 0 '' bash -c 'ctr task kill -s KILL long'
    wait_for 10 bash -c 'ctr task ls | grep -q STOPPED'
    expect "task delete tells the exit status" 0 'exit code 137' bash -c 'ctr task delete long'
    expect "container delete" 0 '' bash -c 'ctr container delete long'
else
    fail "a task in the background" "$(cat "$work/err")"
fi
if start forced sleep 1000; then
    expect "task delete --force" 0 '' bash -c 'ctr task delete --force forced || [ $? = 137 ]'
    expect "container delete after force" 0 '' bash -c 'ctr container delete forced'
else
    fail "task delete --force" "$(cat "$work/err")"
fi
expect "no task is left" 0 '^TASK +PID +STATUS *$' bash -c 'ctr task ls | tail -n 1'
expect "no container is left" 0 '^0$' bash -c 'ctr container ls -q | wc -l'
kill $daemon
wait $daemon 2>/dev/null
finish
