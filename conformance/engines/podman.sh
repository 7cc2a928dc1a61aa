#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that podman runs ordinary containers with a runtime: conformance/engines/podman.sh --runtime PATH
needs=podman
. "$(dirname "$(realpath "$0")")/stage.sh"

export CONTAINERS_CONF=$work/containers.conf
backend=cni
[ ! -x /usr/lib/podman/netavark ] || backend=netavark
cat >"$CONTAINERS_CONF" <<CONF
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "$backend"
network_config_dir = "$work/networks"
CONF
mkdir "$work/networks"
podman() {
    command podman --root "$work/storage" --runroot /run/storage --tmpdir /run/libpod --storage-driver vfs \
        --cgroup-manager cgroupfs --runtime "$runtime" "$@"
}
in_podman() { podman "$@"; }
export -f podman in_podman
export work runtime parent
call() { bash -c 'podman "$@"' podman "$@"; }
run() { # NAME STATUS PATTERN OPTION... IMAGE COMMAND...
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" "$status" "$pattern" bash -c 'podman "$@"' podman run --rm --cgroup-parent "/$parent" "$@"
}
detach() { call run -d --cgroup-parent "/$parent" "$@" >"$work/id" 2>"$work/err" </dev/null || { fail "$1 $2" "$(cat "$work/err")"; return 1; }; }

echo "$(command podman --version), $("$runtime" --version | head -n 1)"
expect import 0 . bash -c 'podman import "$work/rootfs.tar" box'

run "a command" 0 '^hello$' box echo hello
run "its exit status" 37 '' box sh -c 'exit 37'
run "a command that is not there gives 127" 127 'not found|no such file' box /nowhere
run "a command that is not executable gives 126" 126 'permission denied' box /etc/passwd
run "an environment variable" 0 '^there$' -e WHERE=there box sh -c 'echo $WHERE'
run "a working directory" 0 '^/data$' -w /data box pwd
run "a hostname" 0 '^whale$' --hostname whale box hostname

if detach --name background box sh -c 'echo one; echo two >&2; exec sleep 1000'; then
    wait_for 10 sh -c '[ -n "$1" ]' sh "$(sleep 0.5; call logs background 2>/dev/null)"
    expect "-d with logs" 0 '^(one|two)$' bash -c 'podman logs background'
    expect "ps shows it" 0 'Up ' bash -c 'podman ps'
    expect "inspect tells its pid" 0 '^[1-9][0-9]*$' bash -c 'podman inspect -f "{{.State.Pid}}" background'
    expect "exec" 0 '^there$' bash -c 'podman exec -e WHERE=there background sh -c "echo \$WHERE"'
    expect "exec's exit status" 41 '' bash -c 'podman exec background sh -c "exit 41"'
    expect "exec of a command that is not there gives 127" 127 'not found|no such file' bash -c 'podman exec background /nowhere'
    expect "exec of a command that is not executable gives 126" 126 'permission denied' bash -c 'podman exec background /etc/passwd'
    expect "exec --user and --workdir" 0 '^77 /data$' bash -c 'podman exec --user 77:88 --workdir /data background sh -c "echo \$(id -u) \$(pwd)"'
    expect "exec -t gives a terminal" 0 '^/dev/pts/[0-9]+' bash -c 'podman exec -t background tty'
    expect "exec -d" 0 'sleep 999' bash -c 'podman exec -d background sleep 999 && sleep 0.5 && podman top background args'
    expect "top" 0 'sleep 1000' bash -c 'podman top background args'
    expect "pause" 0 background bash -c 'podman pause background'
    expect "its status when paused" 0 '^paused$' bash -c 'podman inspect -f "{{.State.Status}}" background'
    expect "unpause" 0 background bash -c 'podman unpause background'
    expect "stop" 0 background bash -c 'podman stop -t 1 background'
    expect "its status after stop" 0 '^exited 137$' \
        bash -c 'podman inspect -f "{{.State.Status}} {{.State.ExitCode}}" background'
    expect "start again" 0 background bash -c 'podman start background'
    expect "kill" 0 background bash -c 'podman kill background'
    expect "wait" 0 '^137$' bash -c 'podman wait background'
    expect "rm" 0 background bash -c 'podman rm background'
fi
if detach --name polite box sh -c 'trap "exit 5" TERM; while :; do sleep 0.1; done'; then
    sleep 0.3
    expect "stop lets it end by itself" 0 '^5$' bash -c 'podman stop -t 20 polite >/dev/null && podman wait polite'
    expect "rm of what has ended" 0 polite bash -c 'podman rm polite'
fi
if detach --name busy box sleep 1000; then
    expect "rm -f" 0 busy bash -c 'podman rm -f -t 0 busy'
    expect "nothing is left of it" 1 '' bash -c 'podman container exists busy'
fi

run "-t gives a terminal" 0 '^/dev/(pts/[0-9]+|console)$' -t box tty
if controller memory; then
    run "--memory" 0 '^67108864$' --memory 64m box sh -c "$inside_limit" sh memory
else
    skip "--memory" "this machine has no memory controller here"
fi
if controller pids; then
    run "--pids-limit" 0 '^42$' --pids-limit 42 box sh -c "$inside_limit" sh pids
else
    skip "--pids-limit" "this machine has no pids controller here"
fi
run "--read-only" 1 'Read-only file system' --read-only box touch /written
run "without --read-only" 0 '' box touch /written
run "--cap-drop" 0 'CapEff:.*0000000000000000' --cap-drop all box grep CapEff /proc/self/status
run "--cap-drop of one" 1 'not permitted' --cap-drop chown box chown 1:1 /data
run "--cap-add" 0 'CapEff:.*0000000000200000' --cap-drop all --cap-add sys_admin box grep CapEff /proc/self/status
run "--user by number" 0 'uid=77(\(77\))? gid=88(\(88\))?' --user 77:88 box id
run "--user by name" 0 'uid=1234\(guest\) gid=1234\(guest\)' --user guest box id
run "--privileged" 0 "CapEff:.*$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)" --privileged box grep CapEff /proc/self/status
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "-v" 0 '^shared$' -v "$work/volume:/volume" box cat /volume/file
run "-v with ro" 1 'Read-only file system' -v "$work/volume:/volume:ro" box touch /volume/written
run "--tmpfs" 0 '^tmpfs$' --tmpfs /scratch:size=1m box sh -c 'awk "\$2 == \"/scratch\" { print \$3 }" /proc/mounts'
cat >"$work/seccomp.json" <<'PROFILE'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
PROFILE
run "--security-opt seccomp=profile" 1 'not permitted' --security-opt "seccomp=$work/seccomp.json" box mkdir /tmp/a
run "--security-opt seccomp=unconfined" 0 '^Seccomp:.*0$' --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
run "the default seccomp profile" 0 '^Seccomp:.*2$' box grep Seccomp: /proc/self/status
run "--security-opt no-new-privileges" 0 'NoNewPrivs:.*1' --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
if [ -x /usr/libexec/podman/catatonit ] || command -v catatonit >/dev/null; then
    run "--init" 0 'init' --init box sh -c 'tr "\0" " " </proc/1/cmdline'
else
    skip "--init" "catatonit is not installed"
fi
# Without this podman asks for more processes than an unprivileged limit may be raised to.
run "--ulimit" 0 '^77$' --ulimit nofile=77:77 --ulimit "nproc=$(ulimit -u):$(ulimit -u)" box sh -c 'ulimit -n'
run "--shm-size" 0 'size=1024k' --shm-size 1m box grep /dev/shm /proc/mounts
run "--sysctl" 0 '^7$' --sysctl net.ipv4.ip_default_ttl=7 box cat /proc/sys/net/ipv4/ip_default_ttl
run "--device" 0 '^c' --device /dev/zero:/dev/nil box sh -c 'ls -l /dev/nil'
run "--pid host" 0 '' --pid host box sh -c 'test $$ != 1'
run "--ipc host and --uts host" 0 "^$(hostname)$" --ipc host --uts host box hostname
run "--network none" 0 '^lo$' --network none box sh -c 'ls /sys/class/net'
run "--network host" 0 "$(readlink /proc/self/ns/net | tr -d '[]' | tr -d 'net:')" --network host box readlink /proc/self/ns/net
run "the default bridge network" 0 'inet (addr:)?10\.' box ip addr show dev eth0
if detach --name server box sh -c 'while :; do echo from the server | nc -l -p 80; done'; then
    address=$(call inspect -f '{{.NetworkSettings.IPAddress}}' server)
    run "two containers on the bridge" 0 '^from the server$' box sh -c 'nc -w 5 "$1" 80 </dev/null' sh "$address"
    call rm -f -t 0 server >/dev/null 2>&1
fi
if detach --name share box sleep 1000; then
    run "--network container:NAME" 0 '^eth0$' --network container:share box sh -c 'ls /sys/class/net | grep eth0'
    call rm -f -t 0 share >/dev/null 2>&1
fi
expect "a pod" 0 '^eth0$' bash -c 'podman pod create --cgroup-parent "/$parent" --infra-image box --infra-command "sleep 1000" pod >/dev/null &&
    podman run --rm --pod pod box ls /sys/class/net; podman pod rm -f -t 0 pod >/dev/null'
expect "no container is left" 0 '^$' bash -c 'podman ps -aq'
call rm -af -t 0 >/dev/null 2>&1
finish
