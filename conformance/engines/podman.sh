#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that podman runs containers with a runtime as people use it: conformance/engines/podman.sh --runtime PATH
needs=podman
. "$(dirname "$(realpath "$0")")/stage.sh"
. "$here/podman-stage.sh"

cannot_checkpoint=$(no_criu)
check "podman runs the runtime that it is told" 0 "^$(basename "$runtime")|^$runtime" 'podman info --format "{{.Host.OCIRuntime.Path}}"'
check "podman runs the runtime that its settings name" 0 "^$runtime|^under-test" 'configured_podman info --format "{{.Host.OCIRuntime.Path}}" && configured_podman run --rm $in box true'

# Exit statuses and standard streams -----------------------------------------------------------------------
run "a command" 0 '^hello$' box echo hello
run "its exit status" 37 '' box sh -c 'exit 37'
run "a command that is not there gives 127" 127 'not found|no such file' box /nowhere
run "a name that is not in PATH gives 127" 127 'executable file not found|not found in' box nowhere
run "a command that is not executable gives 126" 126 'permission denied' box /etc/passwd
run "a directory as command gives 126" 126 'is a directory|permission denied' box /data
run "podman's own errors give 125" 125 'unknown flag' --no-such-flag box true
run "a signal gives 128 and its number" 137 '' --pid host box sh -c 'kill -9 $$'
check "standard output and error are apart" 0 '^out$' 'podman run --rm $in box sh -c "echo out; echo err >&2" 2>$work/stderr && grep -qx err $work/stderr'
check "standard input" 0 '^typed$' 'echo typed | podman run --rm -i $in box cat'
check "much output is whole" 0 '^33554432$' 'podman run --rm $in box sh -c "head -c 33554432 /dev/zero" | wc -c'
check "much input is whole" 0 '^33554432$' 'head -c 33554432 /dev/zero | podman run --rm -i $in box wc -c'
# podman tells the size while the command runs.
size='until stty size 2>/dev/null | grep "$1"; do sleep 0.05; done'
check "-t gives a terminal of the caller's size" 0 '33 77$' 'size=$1; export size; script -qec "stty rows 33 cols 77; podman run --rm -it $in box sh -c \"\$size\" sh 33" /dev/null' "$size"
check "-t with what is typed" 7 '' '(wait_for 20 grep -q "#" $work/typed; echo "exit 7"; sleep 20 &) | script -qfec "podman run --rm -it $in box sh" $work/typed'
check "--preserve-fds" 0 '^from three$' 'podman run --rm $in --preserve-fds 1 box sh -c "cat <&3" 3<<<"from three"'
check "-a stdout alone" 0 '^0$' 'podman run --rm $in -a stdout box sh -c "echo err >&2" 2>&1 | wc -l'
check "--cidfile" 0 '^[0-9a-f]{64}$' 'podman run --rm $in --cidfile $work/cid box true && cat $work/cid'
check "--rm leaves nothing" 1 '' 'podman run --rm $in --name once box true && podman container exists once'
check "--timeout kills" 9 '' 'podman run --rm $in --timeout 1 box sleep 100 || exit 9'
check "12 at a time" 0 '^12$' 'for n in {1..12}; do podman run --rm $in box echo "number $n" & done | grep -c number'

# The process ----------------------------------------------------------------------------------------------
run "an environment variable" 0 '^there$' -e WHERE=there box sh -c 'echo $WHERE'
check "--env-host" 0 '^xyz$' 'OUTSIDE=xyz podman run --rm $in --env-host box sh -c "echo \$OUTSIDE"'
run "a working directory" 0 '^/data$' -w /data box pwd
run "a working directory that is not there" 126 'no such file|does not exist|not found' -w /nowhere/at/all box pwd
run "--hostname" 0 '^whale$' --hostname whale box hostname
run "--add-host" 0 '10\.9\.8\.7[[:space:]]+other' --add-host other:10.9.8.7 box cat /etc/hosts
run "--entrypoint" 0 '^before after$' --entrypoint '["echo", "before"]' box after
run "--umask" 0 '^0077$' --umask 077 box sh -c umask
run "--tz" 0 '^\+0900$|UTC' --tz Asia/Tokyo box date +%z
run "--user by number" 0 'uid=77(\(77\))? gid=88(\(88\))?' --user 77:88 box id
run "--user by name" 0 'uid=1234\(guest\) gid=1234\(guest\)' --user guest box id
run "--user that is not there" 126 'unable to find user|no matching entries' --user nobody-there box id
run "--group-add" 0 'groups=.*55.*66' --user 77:88 --group-add 55 --group-add 66 box id
run "--init" 0 'init' --init box sh -c 'tr "\0" " " </proc/1/cmdline'
run "--oom-score-adj" 0 '^321$' --oom-score-adj 321 box cat /proc/self/oom_score_adj
# Without these podman asks for more than an unprivileged limit may be raised to.
limits=(--ulimit "nofile=77:$(ulimit -Hn)" --ulimit "nproc=$(ulimit -u):$(ulimit -Hu)")
run "--ulimit nofile" 0 '^77$' "${limits[@]}" box sh -c 'ulimit -n'
run "--ulimit core" 0 '^0$' "${limits[@]}" --ulimit core=0 box sh -c 'ulimit -c'
run "--shm-size" 0 'size=1024k' --shm-size 1m box grep /dev/shm /proc/mounts
run "--sysctl of the network" 0 '^7$' --sysctl net.ipv4.ip_default_ttl=7 box cat /proc/sys/net/ipv4/ip_default_ttl
run "--sysctl of ipc" 0 '^12345$' --sysctl kernel.msgmax=12345 box cat /proc/sys/kernel/msgmax
run "--cap-drop all" 0 'CapEff:.*0000000000000000' --cap-drop all box grep CapEff /proc/self/status
run "--cap-drop of one" 1 'not permitted' --cap-drop chown box chown 1:1 /data
run "--cap-add" 0 'CapEff:.*0000000000200000' --cap-drop all --cap-add sys_admin box grep CapEff /proc/self/status
run "capabilities of a user" 0 'CapEff:.*0000000000000400' --user 77 --cap-drop all --cap-add net_bind_service box grep CapEff /proc/self/status
run "--privileged" 0 "CapEff:.*$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)" --privileged box grep CapEff /proc/self/status
run "--security-opt no-new-privileges" 0 'NoNewPrivs:.*1' --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status
cat >"$work/seccomp.json" <<'PROFILE'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]}
PROFILE
run "the default seccomp profile" 0 '^Seccomp:.*2$' box grep Seccomp: /proc/self/status
run "what the default profile refuses" 1 'not permitted' box unshare -n true
run "--security-opt seccomp=PROFILE" 1 'quota exceeded' --security-opt "seccomp=$work/seccomp.json" box mkdir /tmp/a
run "--security-opt seccomp=unconfined" 0 '^Seccomp:.*0$' --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status
run "masked paths" 0 '^0$' box sh -c 'wc -c </proc/kcore || echo 0'
run "--security-opt mask" 0 '^0$' --security-opt mask=/proc/version box sh -c 'wc -c </proc/version'
run "--security-opt unmask" 0 'rw' --security-opt unmask=ALL box sh -c 'awk "\$2 == \"/proc/sys\"" /proc/mounts | grep . || echo rw'
run "read-only paths" 1 'Read-only file system' box sh -c 'echo 1 >/proc/sys/kernel/domainname'
run "--systemd=always" 0 '^podman tmpfs$' --systemd always box sh -c 'echo $container $(awk "\$2 == \"/run\" { print \$3 }" /proc/mounts)'

# The life of a container ----------------------------------------------------------------------------------
if detach --name background box sh -c 'echo one; echo two >&2; exec sleep 1000'; then
    wait_for 10 bash -c 'podman logs background 2>&1 | grep -q two'
    check "-d with logs" 0 '^one$' 'podman logs background 2>/dev/null'
    check "the logs of standard error" 0 '^two$' 'podman logs background 2>&1 >/dev/null'
    check "ps" 0 'Up .*background' 'podman ps'
    check "inspect tells its pid" 0 '^sh$|^sleep$' 'cat /proc/$(podman inspect -f "{{.State.Pid}}" background)/comm'
    check "top" 0 'sleep 1000' 'podman top background args'
    check "stats" 0 '^background [1-9]' 'podman stats --no-stream --format "{{.Name}} {{.PIDs}}" background'
    check "events" 0 '^start$' 'podman events --stream=false --since 10m --filter container=background --format "{{.Status}}"'
    check "cp into it and out" 0 '^carried$' 'echo carried >$work/carry; podman cp $work/carry background:/tmp/there && podman exec background cat /tmp/there && podman cp background:/tmp/there $work/back && cat $work/back'
    check "diff" 0 '^A /tmp/there$' 'podman diff background'
    check "exec" 0 '^there$' 'podman exec -e WHERE=there background sh -c "echo \$WHERE"'
    check "exec's exit status" 41 '' 'podman exec background sh -c "exit 41"'
    check "exec that a signal ends" 143 '' 'podman exec background sh -c "kill \$\$; sleep 10"'
    check "exec of a command that is not there gives 127" 127 'not found|no such file' 'podman exec background /nowhere'
    check "exec of a command that is not executable gives 126" 126 'permission denied' 'podman exec background /etc/passwd'
    check "exec with standard input" 0 '^typed$' 'echo typed | podman exec -i background cat'
    check "exec's much output is whole" 0 '^16777216$' 'podman exec background head -c 16777216 /dev/zero | wc -c'
    check "exec --user and --workdir" 0 '^77 /data$' 'podman exec --user 77:88 --workdir /data background sh -c "echo \$(id -u) \$(pwd)"'
    check "exec --privileged" 0 "CapEff:.*$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)" 'podman exec --privileged background grep CapEff /proc/self/status'
    check "exec -t" 0 '^/dev/pts/[0-9]+' 'podman exec -t background tty'
    check "exec -it has the caller's size" 0 '44 99$' 'size=$1; export size; script -qec "stty rows 44 cols 99; podman exec -it background sh -c \"\$size\" sh 44" /dev/null' "$size"
    check "exec --preserve-fds" 0 '^three$' 'podman exec --preserve-fds 1 background sh -c "cat <&3" 3<<<three'
    check "exec -d" 0 'sleep 999' 'podman exec -d background sleep 999 && wait_for 10 bash -c "podman top background args | grep sleep.999" && podman top background args'
    check "exec is in the container's cgroup" 0 '^same$' 'podman exec background cat /proc/1/cgroup /proc/self/cgroup | sort | uniq -c | awk "\$1 != 2 { bad = 1 } END { print bad ? \"other\" : \"same\" }"'
    check "8 execs at a time" 0 '^8$' 'for n in {1..8}; do podman exec background echo "number $n" & done | grep -c number'
    check "pause" 0 background 'podman pause background'
    check "its status when paused" 0 '^paused$' 'podman inspect -f "{{.State.Status}}" background'
    check "exec when paused" 255 'paused|not running|only.*running' 'podman exec background true || exit 255'
    check "unpause" 0 background 'podman unpause background'
    if [ -n "$cannot_checkpoint" ]; then
        skip "container checkpoint" "$cannot_checkpoint"
        skip "container restore" "$cannot_checkpoint"
    else
        check "container checkpoint" 0 background 'podman container checkpoint background'
        check "container restore" 0 background 'podman container restore background'
    fi
    check "stop" 0 background 'podman stop -t 1 background'
    check "its status after stop" 0 '^exited 137$' 'podman inspect -f "{{.State.Status}} {{.State.ExitCode}}" background'
    check "start again" 0 background 'podman start background'
    check "restart" 0 background 'podman restart -t 0 background'
    check "rename" 0 '^Up' 'podman rename background renamed && podman ps --filter name=renamed --format "{{.Status}}" && podman rename renamed background'
    check "kill" 0 background 'podman kill background'
    check "wait" 0 '^137$' 'podman wait background'
    check "commit" 0 '^carried$' 'podman commit -q background committed && podman run --rm $in committed cat /tmp/there'
    check "export" 0 'tmp/there' 'podman export background | tar -t'
    check "rm" 0 background 'podman rm background'
fi
loop='trap "exit 5" TERM; trap "echo usr1" USR1; echo ready; while :; do sleep 0.05; done'
if detach --name polite box sh -c "$loop"; then
    wait_for 10 bash -c 'podman logs polite | grep ready'
    check "kill of a signal that is handled" 0 '^usr1$' 'podman kill -s USR1 polite >/dev/null; wait_for 10 bash -c "podman logs polite | grep usr1"; podman logs polite'
    check "stop lets it end by itself" 0 '^5$' 'podman stop -t 20 polite >/dev/null && podman wait polite'
    check "rm of what has ended" 0 polite 'podman rm polite'
fi
if detach --name slow --stop-signal USR1 --stop-timeout 20 box sh -c 'trap "exit 6" USR1; echo ready; while :; do sleep 0.05; done'; then
    wait_for 10 bash -c 'podman logs slow | grep ready'
    check "--stop-signal" 0 '^6$' 'podman stop slow >/dev/null && podman wait slow'
    check "start --attach gives the exit status" 7 '' 'podman create --name attached $in box sh -c "sleep 0.2; exit 7" >/dev/null && podman start --attach attached'
    check "init, then start" 0 '^initialized' 'podman create --name early $in box true >/dev/null && podman init early >/dev/null && podman inspect -f "{{.State.Status}}" early && podman start early'
    remove slow attached early
fi
if detach -i --name attached box sh -c 'read line; echo "got $line"; read line; exit 9'; then
    check "attach" 0 '^got it$' '(echo it; wait_for 20 grep got $work/seen; echo more) | podman attach attached >$work/seen; cat $work/seen'
    remove attached
fi
if detach -it --name typed box sh; then
    check "attach to a terminal, and --detach-keys" 0 '^running$' '(wait_for 20 grep -q "#" $work/screen; printf "\020\021"; sleep 20 &) | script -qfec "timeout 20 podman attach typed" $work/screen >/dev/null; podman inspect -f "{{.State.Status}}" typed'
    remove typed
fi
if detach --name busy box sleep 1000; then
    check "rm -f" 0 busy 'podman rm -f -t 0 busy'
    check "nothing is left of it" 1 '' 'podman container exists busy'
fi
if detach --name again --restart on-failure:2 box sh -c 'echo run; exit 3'; then
    check "--restart on-failure" 0 '^3$' 'wait_for 20 bash -c "podman logs again | grep -c run | grep 3"; podman logs again | grep -c run'
    remove again
fi
if detach --name health --health-cmd 'test -e /tmp/healthy' --health-interval disable --health-retries 1 box sleep 1000; then
    check "healthcheck run of what is unhealthy" 1 'unhealthy' 'podman healthcheck run health'
    check "healthcheck run of what is healthy" 0 '^healthy$' 'podman exec health touch /tmp/healthy && podman healthcheck run health && podman inspect -f "{{.State.Health.Status}}" health'
    remove health
fi
check "--log-driver k8s-file keeps every line" 0 '^50000$' 'podman run -d $in --name lines --log-driver k8s-file box sh -c "seq 50000" >/dev/null && podman wait lines >/dev/null && podman logs lines | wc -l; podman rm -f lines >/dev/null'
check "--log-driver none" 0 '^none$' 'podman run $in --name silent --log-driver none box echo words >/dev/null && podman inspect -f "{{.HostConfig.LogConfig.Type}}" silent; podman rm -f silent >/dev/null'
. "$here/podman-resources.sh"
check "no container is left" 0 '^$' 'podman ps -aq'
call rm -af -t 0 >/dev/null 2>&1
finish
