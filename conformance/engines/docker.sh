#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that docker runs ordinary containers with a runtime: conformance/engines/docker.sh --runtime PATH
needs=dockerd
. "$(dirname "$(realpath "$0")")/stage.sh"

# Debian's docker has no runtime of its own and finds runc in PATH; the one under test has a name that is not taken.
dockerd --host unix:///run/docker.sock --data-root "$work/data" --exec-root /run/docker --pidfile /run/docker.pid \
    --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$parent" \
    --add-runtime "under-test=$runtime" --default-runtime under-test >"$work/dockerd.log" 2>&1 </dev/null &
daemon=$!
export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$work/client
export work parent
echo "$(dockerd --version), $("$runtime" --version | head -n 1)"
if ! wait_for 60 docker version; then
    fail "dockerd starts" "$(grep -E 'level=(fatal|error)|failed' "$work/dockerd.log" | tail -n 3)"
    finish
fi

run() { # NAME STATUS PATTERN OPTION... IMAGE COMMAND...
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" "$status" "$pattern" docker run --rm --runtime under-test "$@"
}
expect import 0 sha256 docker import "$work/rootfs.tar" box
run "a command" 0 '^hello$' box echo hello
run "its exit status" 37 '' box sh -c 'exit 37'
run "a command that is not there gives 127" 127 'executable file not found|no such file' box nowhere
run "a command that is not executable gives 126" 126 'permission denied' box /etc/passwd
run "--user" 0 'uid=77(\(77\))? gid=88' --user 77:88 box id
run "--read-only" 1 'Read-only file system' --read-only box touch /written
run "--cap-drop" 0 'CapEff:.*0000000000000000' --cap-drop all box grep CapEff /proc/self/status
run "the default seccomp profile" 0 '^Seccomp:.*2$' box grep Seccomp: /proc/self/status
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "-v with ro" 1 '^shared$' -v "$work/volume:/volume:ro" box sh -c 'cat /volume/file; touch /volume/written'
run "--tmpfs" 0 '^tmpfs$' --tmpfs /scratch:size=1m box sh -c 'awk "\$2 == \"/scratch\" { print \$3 }" /proc/mounts'
run "-t" 0 '^/dev/(pts/0|console)$' -t box tty
if controller memory; then
    run "--memory" 0 '^67108864$' --memory 64m box sh -c "$inside_limit" sh memory
else
    skip "--memory" "this machine has no memory controller here"
fi
if [ -x /usr/libexec/docker/docker-init ] || command -v docker-init >/dev/null; then
    run "--init" 0 'init' --init box sh -c 'tr "\0" " " </proc/1/cmdline'
else
    skip "--init" "docker-init is not installed"
fi
run "--network none" 0 '^lo$' --network none box ls /sys/class/net
run "--network host" 0 "$(readlink /proc/self/ns/net | tr -dc 0-9)" --network host box readlink /proc/self/ns/net
run "the default bridge network" 0 'inet (addr:)?172\.' box ip addr show dev eth0
if docker run -d --runtime under-test --name long box sh -c 'echo one; exec sleep 1000' >"$work/out" 2>&1; then
    sleep 0.5
    expect "-d with logs" 0 '^one$' docker logs long
    expect "exec" 0 '^there$' docker exec -e WHERE=there long sh -c 'echo $WHERE'
    expect "exec's exit status" 41 '' docker exec long sh -c 'exit 41'
    # docker 20.10 makes 126 of it with any runtime, later ones 127.
    expect "exec of a command that is not there" 126 'executable file not found|no such file' sh -c 'docker exec long nowhere || exit 126'
    expect "exec of a command that is not executable gives 126" 126 'permission denied' docker exec long /etc/passwd
    expect "exec --user and --workdir" 0 '^77 /data$' docker exec --user 77:88 --workdir /data long sh -c 'echo $(id -u) $(pwd)'
    expect "exec -d and top" 0 'sleep 999' sh -c 'docker exec -d long sleep 999 && sleep 0.5 && docker top long'
    expect "pause" 0 long docker pause long
    expect "its status when paused" 0 '^paused$' docker inspect -f '{{.State.Status}}' long
    expect "unpause" 0 long docker unpause long
    expect "stop" 0 long docker stop -t 1 long
    expect "its status after stop" 0 '^exited 137$' docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' long
    expect "start again" 0 long docker start long
    expect "kill" 0 long docker kill long
    expect "start after kill" 0 long docker start long
    expect "rm -f" 0 long docker rm -f long
else
    fail "-d" "$(cat "$work/out")"
fi
expect "no container is left" 0 '^0$' sh -c 'docker ps -aq | wc -l'
kill $daemon
wait $daemon 2>/dev/null
finish
