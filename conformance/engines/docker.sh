#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that docker runs containers with a runtime as people use it: conformance/engines/docker.sh --runtime PATH
needs=dockerd
. "$(dirname "$(realpath "$0")")/stage.sh"

# Debian's docker has no runtime of its own and finds runc in PATH; the one under test has a name that is not taken.
echo "{\"runtimes\": {\"under-test\": {\"path\": \"$runtime\"}}, \"default-runtime\": \"under-test\"}" >"$work/daemon.json"
dockerd --config-file "$work/daemon.json" --host unix:///run/docker.sock --data-root "$work/data" --exec-root /run/docker --pidfile /run/docker.pid \
    --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$parent" --experimental \
    --add-runtime "added=$runtime" >"$work/dockerd.log" 2>&1 </dev/null &
daemon=$!
export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$work/client
pid_of() { docker inspect -f '{{.State.Pid}}' "$1"; }
# CONTAINER CONTROLLER NAME...: what the files of its cgroup say.
limit() { local name=$1; shift; cgroup_file "$(pid_of "$name")" "$@"; }
export -f pid_of limit
export work parent runtime
echo "$(dockerd --version), $("$runtime" --version | head -n 1)"
if ! wait_for 60 docker version; then
    fail "dockerd starts" "$(grep -E 'level=(fatal|error)|failed' "$work/dockerd.log" | tail -n 3)"
    finish
fi

run() { # NAME STATUS PATTERN OPTION... IMAGE COMMAND...
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" "$status" "$pattern" docker run --rm "$@"
}
detach() { docker run -d "$@" >"$work/id" 2>"$work/err" </dev/null || { fail "$1 $2" "$(cat "$work/err")"; return 1; }; }
remove() { docker rm -f "$@" >/dev/null 2>&1; }
check import 0 sha256 'docker import -c "CMD [\"sleep\", \"1000\"]" $work/rootfs.tar box'
check "info names the runtime" 0 '^under-test$' 'docker info --format "{{.DefaultRuntime}}"'

# Exit statuses and standard streams -----------------------------------------------------------------------
run "a command" 0 '^hello$' box echo hello
run "--runtime, by the name of --add-runtime" 0 '^hello$' --runtime added box echo hello
run "its exit status" 37 '' box sh -c 'exit 37'
run "a command that is not there gives 127" 127 'executable file not found|no such file' box nowhere
run "a command that is not executable gives 126" 126 'permission denied' box /etc/passwd
run "docker's own errors give 125" 125 'unknown flag' --no-such-flag box true
check "standard output and error are apart" 0 '^out$' 'docker run --rm box sh -c "echo out; echo err >&2" 2>$work/stderr && grep -qx err $work/stderr'
check "standard input" 0 '^typed$' 'echo typed | docker run --rm -i box cat'
check "much output is whole" 0 '^16777216$' 'docker run --rm box head -c 16777216 /dev/zero | wc -c'
check "much input is whole" 0 '^16777216$' 'head -c 16777216 /dev/zero | docker run --rm -i box wc -c'
run "-t gives a terminal" 0 '^/dev/(pts/0|console)$' -t box tty
# docker tells the size once the command runs.
check "-t has the caller's size" 0 '33 77$' 'script -qec "stty rows 33 cols 77; docker run --rm -it box sh -c \"until stty size 2>/dev/null | grep 33; do sleep 0.05; done\"" /dev/null'
check "-t with what is typed" 7 '' '(wait_for 20 grep -q "#" $work/typed; echo "exit 7"; sleep 20 &) | script -qfec "docker run --rm -it box sh" $work/typed'
check "--cidfile" 0 '^[0-9a-f]{64}$' 'docker run --rm --cidfile $work/cid box true && cat $work/cid'
check "10 at a time" 0 '^10$' 'for n in {1..10}; do docker run --rm box echo "number $n" & done | grep -c number'

# The process ----------------------------------------------------------------------------------------------
run "-e and -w" 0 '^there /data$' -e WHERE=there -w /data box sh -c 'echo $WHERE $(pwd)'
run "--hostname" 0 '^whale$' --hostname whale box hostname
run "--add-host" 0 '10\.9\.8\.7[[:space:]]+other' --add-host other:10.9.8.7 box cat /etc/hosts
run "--entrypoint" 0 '^before after$' --entrypoint echo box before after
run "--user" 0 'uid=77(\(77\))? gid=88' --user 77:88 box id
run "--user by name" 0 'uid=1234\(guest\)' --user guest box id
run "--group-add" 0 'groups=.*55' --user 77:88 --group-add 55 box id
run "--cap-drop" 0 'CapEff:.*0000000000000000' --cap-drop all box grep CapEff /proc/self/status
run "--cap-add" 0 'CapEff:.*0000000000200000' --cap-drop all --cap-add sys_admin box grep CapEff /proc/self/status
run "--privileged" 0 '^1$' --privileged box sh -c "$has_sys_admin"
run "--security-opt no-new-privileges" 0 'NoNewPrivs:.*1' --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
run "the default seccomp profile" 0 '^Seccomp:.*2$' box grep Seccomp: /proc/self/status
run "what the default profile refuses" 1 'not permitted' box unshare -n true
run "--security-opt seccomp=unconfined" 0 '^Seccomp:.*0$' --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}' >"$work/seccomp.json"
run "--security-opt seccomp=PROFILE" 1 'not permitted' --security-opt "seccomp=$work/seccomp.json" box mkdir /tmp/a
run "read-only paths" 1 'Read-only file system' box sh -c 'echo 1 >/proc/sys/kernel/domainname'
run "--ulimit" 0 '^77$' --ulimit nofile=77:77 box sh -c 'ulimit -n'
run "--oom-score-adj" 0 '^321$' --oom-score-adj 321 box cat /proc/self/oom_score_adj
run "--shm-size" 0 'size=1024k' --shm-size 1m box grep /dev/shm /proc/mounts
run "--sysctl" 0 '^7$' --sysctl net.ipv4.ip_default_ttl=7 box cat /proc/sys/net/ipv4/ip_default_ttl
if [ -x /usr/libexec/docker/docker-init ] || command -v docker-init >/dev/null; then
    run "--init" 0 'init' --init box sh -c 'tr "\0" " " </proc/1/cmdline'
else
    skip "--init" "docker-init is not installed"
fi

# Limits, read back from the cgroup files ------------------------------------------------------------------
limited() { # NAME CONTROLLER PATTERN FILES OPTION...
    local name=$1 controller=$2 pattern=$3 files=$4
    shift 4
    if ! controller "$controller"; then skip "$name" "this machine has no $controller controller here"; return; fi
    if detach --name limited "$@" box; then
        check "$name" 0 "$pattern" "limit limited $controller $files"
        [ "$name" != --memory ] ||
            check "update" 0 '^134217728$' 'docker update --memory 128m --memory-swap 256m limited >/dev/null && limit limited memory memory.limit_in_bytes memory.max'
        [ "$name" != --cpus ] ||
            check "update --cpus" 0 '^50000 100000$' 'docker update --cpus 0.5 limited >/dev/null && limit limited cpu cpu.cfs_quota_us cpu.cfs_period_us cpu.max'
        remove limited
    fi
}
limited --memory memory '^67108864$' 'memory.limit_in_bytes memory.max' --memory 64m
limited --pids-limit pids '^42$' pids.max --pids-limit 42
limited --cpus cpu '^150000 100000$' 'cpu.cfs_quota_us cpu.cfs_period_us cpu.max' --cpus 1.5
limited --cpuset-cpus cpuset '^0$' cpuset.cpus --cpuset-cpus 0
check "more memory than --memory" 0 '^137$' 'docker run --name greedy --memory 16m --memory-swap 16m box sh -c "exec tail -c 50000000 /dev/zero" >/dev/null 2>&1; docker inspect -f "{{.State.ExitCode}}" greedy; docker rm greedy >/dev/null'
run "--cgroupns private" 0 '^/$' --cgroupns private box sh -c 'sed -n "s/^[0-9]*:[^:]*://p" /proc/self/cgroup | sort -u'

# Files ----------------------------------------------------------------------------------------------------
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "--read-only" 1 'Read-only file system' --read-only box touch /written
run "-v" 0 '^shared$' -v "$work/volume:/volume" box cat /volume/file
run "-v with ro" 1 '^shared$' -v "$work/volume:/volume:ro" box sh -c 'cat /volume/file; touch /volume/written'
run "--mount type=bind" 0 '^shared$' --mount "type=bind,src=$work/volume,dst=/a/new/place,readonly" box cat /a/new/place/file
run "--tmpfs" 0 '^tmpfs$' --tmpfs /scratch:size=1m box sh -c 'awk "\$2 == \"/scratch\" { print \$3 }" /proc/mounts'
check "a named volume is kept" 0 '^kept$' 'docker run --rm -v kept:/keep box sh -c "echo kept >/keep/file" && docker run --rm -v kept:/other box cat /other/file'
check "a new volume has what the image has there" 0 'passwd' 'docker run --rm -v copied:/etc/ box ls /etc'
mkdir "$work/propagation"
mount -t tmpfs propagation "$work/propagation"
mkdir "$work/propagation/host" "$work/propagation/container"
mount --make-shared "$work/propagation"
check "rshared: a mount of the container reaches the host" 0 '^tmpfs$' 'docker run --rm --privileged -v $work/propagation:/p:rshared box mount -t tmpfs inner /p/container && stat -f -c %T $work/propagation/container; umount $work/propagation/container'
if detach --name waits -v "$work/propagation:/p:rslave" box; then
    check "rslave: a mount of the host reaches the container" 0 '^1$' \
        'mount -t tmpfs outer $work/propagation/host; docker exec waits grep -c " /p/host " /proc/mounts; umount $work/propagation/host'
    remove waits
fi
umount "$work/propagation"
run "--device" 0 '^crw.* 1, *5 ' --device /dev/zero:/dev/nil box ls -l /dev/nil
run "a device that is not allowed" 1 'not permitted' box sh -c 'mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg'

# Namespaces and networks ----------------------------------------------------------------------------------
run "--network none" 0 '^lo$' --network none box ls /sys/class/net
run "--network host" 0 "$(readlink /proc/self/ns/net | tr -dc 0-9)" --network host box readlink /proc/self/ns/net
run "--pid host" 0 '' --pid host box sh -c 'test $$ != 1'
run "the default bridge network" 0 'inet (addr:)?172\.' box ip addr show dev eth0
if detach --name server -p 127.0.0.1:8080:80 --ipc shareable box sh -c 'while :; do echo from the server | nc -l -p 80; done'; then
    address=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' server)
    run "two containers on the bridge" 0 '^from the server$' box sh -c 'until nc -w 5 "$1" 80 </dev/null; do sleep 0.1; done' sh "$address"
    check "a published port" 0 '^from the server$' 'wait_for 10 bash -c "busybox nc -w 5 127.0.0.1 8080 </dev/null >$work/answer; grep from $work/answer"; cat $work/answer'
    for kind in net pid ipc; do
        option=$kind
        [ $kind != net ] || option=network
        check "--$option container:NAME" 0 '^same$' '[ "$(docker run --rm --$1 container:server box readlink /proc/self/ns/$2)" = "$(readlink /proc/$(pid_of server)/ns/$2)" ] && echo same' "$option" $kind
    done
    remove server
fi
check "a network of its own, and names in it" 0 '^from named$' 'docker network create own >/dev/null && docker run -d --name named --network own box sh -c "while :; do echo from named | nc -l -p 80; done" >/dev/null &&
    docker run --rm --network own box sh -c "until nc -w 5 named 80 </dev/null; do sleep 0.1; done"; docker rm -f named >/dev/null; docker network rm own >/dev/null'

# The life of a container ----------------------------------------------------------------------------------
if detach --name long box sh -c 'echo one; echo two >&2; exec sleep 1000'; then
    wait_for 10 sh -c 'docker logs long 2>&1 | grep -q two'
    check "-d with logs" 0 '^one$' 'docker logs long 2>/dev/null'
    check "exec" 0 '^there$' 'docker exec -e WHERE=there long sh -c "echo \$WHERE"'
    check "exec's exit status" 41 '' 'docker exec long sh -c "exit 41"'
    # docker 20.10 makes 126 of it with any runtime, later ones 127.
    check "exec of a command that is not there" 126 'executable file not found|no such file' 'docker exec long nowhere || exit 126'
    check "exec of a command that is not executable gives 126" 126 'permission denied' 'docker exec long /etc/passwd'
    check "exec --user and --workdir" 0 '^77 /data$' 'docker exec --user 77:88 --workdir /data long sh -c "echo \$(id -u) \$(pwd)"'
    check "exec --privileged" 0 '^1$' 'docker exec --privileged long sh -c "$1"' "$has_sys_admin"
    check "exec with standard input" 0 '^typed$' 'echo typed | docker exec -i long cat'
    check "exec's much output is whole" 0 '^16777216$' 'docker exec long head -c 16777216 /dev/zero | wc -c'
    check "exec -t" 0 '^/dev/pts/[0-9]+' 'docker exec -t long tty'
    check "exec -it has the caller's size" 0 '44 99$' 'script -qec "stty rows 44 cols 99; docker exec -it long sh -c \"until stty size 2>/dev/null | grep 44; do sleep 0.05; done\"" /dev/null'
    check "exec -d and top" 0 'sleep 999' 'docker exec -d long sleep 999 && wait_for 10 bash -c "docker top long | grep sleep.999"; docker top long'
    check "8 execs at a time" 0 '^8$' 'for n in {1..8}; do docker exec long echo "number $n" & done | grep -c number'
    check "stats" 0 '^long [1-9]' 'docker stats --no-stream --format "{{.Name}} {{.PIDs}}" long'
    check "ps" 0 'Up .*long' 'docker ps'
    check "events" 0 '^start$' 'docker events --since 10m --until 0s --filter container=long --filter event=start --format "{{.Action}}"'
    check "cp into it and out" 0 '^carried$' 'echo carried >$work/carry; docker cp -q $work/carry long:/tmp/there && docker exec long cat /tmp/there && docker cp -q long:/tmp/there $work/back && cat $work/back'
    check "diff" 0 '^A /tmp/there$' 'docker diff long'
    check "commit" 0 '^carried$' 'docker commit long committed >/dev/null && docker run --rm committed cat /tmp/there'
    check "pause" 0 long 'docker pause long'
    check "its status when paused" 0 '^paused$' 'docker inspect -f "{{.State.Status}}" long'
    check "exec when paused" 1 'is paused' 'docker exec long true'
    check "unpause" 0 long 'docker unpause long'
    check "stop" 0 long 'docker stop -t 1 long'
    check "its status after stop" 0 '^exited 137$' 'docker inspect -f "{{.State.Status}} {{.State.ExitCode}}" long'
    check "start again" 0 long 'docker start long'
    check "restart" 0 '^running$' 'docker restart -t 0 long >/dev/null && docker inspect -f "{{.State.Status}}" long'
    check "kill and wait" 0 '^137$' 'docker kill long >/dev/null && docker wait long'
    check "start after kill" 0 long 'docker start long'
    check "rm -f" 0 long 'docker rm -f long'
fi
if detach --name polite box sh -c 'trap "exit 5" TERM; trap "echo usr1" USR1; echo ready; while :; do sleep 0.05; done'; then
    wait_for 10 sh -c 'docker logs polite | grep ready'
    check "kill of a signal that is handled" 0 '^usr1$' 'docker kill -s USR1 polite >/dev/null; wait_for 10 bash -c "docker logs polite | grep usr1"; docker logs polite'
    check "stop lets it end by itself" 0 '^5$' 'docker stop -t 20 polite >/dev/null && docker wait polite'
    remove polite
fi
if detach -i --name attached box sh -c 'read line; echo "got $line"; read line; exit 9'; then
    check "attach" 9 '^got it$' '(echo it; wait_for 20 grep got $work/seen; echo more) | docker attach attached >$work/seen; status=$?; cat $work/seen; exit $status'
    remove attached
fi
if detach --name again --restart on-failure:2 box sh -c 'echo run; exit 3'; then
    check "--restart on-failure" 0 '^2$' 'wait_for 20 bash -c "docker logs again | grep -c run | grep 3"; docker inspect -f "{{.RestartCount}}" again'
    remove again
fi
if detach --name health --health-cmd 'test -e /tmp/healthy' --health-interval 200ms --health-retries 1 box; then
    check "a health check that fails" 0 '^unhealthy$' 'wait_for 20 bash -c "docker inspect -f {{.State.Health.Status}} health | grep -x unhealthy"; docker inspect -f "{{.State.Health.Status}}" health'
    check "a health check that succeeds" 0 '^healthy$' 'docker exec health touch /tmp/healthy; wait_for 20 bash -c "docker inspect -f {{.State.Health.Status}} health | grep -x healthy"; docker inspect -f "{{.State.Health.Status}}" health'
    remove health
fi
check "logs keep every line" 0 '^20000$' 'docker run --name lines box seq 20000 >/dev/null && docker logs lines | wc -l; docker rm -f lines >/dev/null'
cannot_checkpoint=$(no_criu)
if [ -n "$cannot_checkpoint" ]; then
    skip "checkpoint, and start from it" "$cannot_checkpoint"
elif detach --name counter box; then
    check "checkpoint, and start from it" 0 '^running$' 'docker checkpoint create counter one >/dev/null && docker start --checkpoint one counter && docker inspect -f "{{.State.Status}}" counter'
    remove counter
fi
check "no container is left" 0 '^0$' 'docker ps -aq | wc -l'
kill $daemon
wait $daemon 2>/dev/null
finish
