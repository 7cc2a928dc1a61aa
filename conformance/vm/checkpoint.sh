#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that podman and containerd checkpoint and restore containers by a runtime and CRIU. Meant for a machine that is
# thrown away: daemons, images and containers are the machine's.
# usage: conformance/vm/checkpoint.sh --runtime PATH [--only podman|containerd]      (as root)
# Needs podman, conmon, criu, iptables and busybox (static); containerd where it is installed.
# Prints "ok NAME", "FAIL NAME: reason" or "SKIP NAME: reason" a check, and totals; ends with 0 if none failed.
set -uo pipefail

usage() { sed -n 's/^# \(usage: .*\)/\1/p' "$0" >&2; exit 2; }
runtime='' only=''
while [ $# -gt 0 ]; do
    case $1 in
    --runtime) [ $# -ge 2 ] || usage; runtime=$(realpath "$2"); shift ;;
    --only) [ $# -ge 2 ] || usage; only=$2; shift ;;
    *) usage ;;
    esac
    shift
done
[ -x "$runtime" ] || usage
[ "$(id -u)" = 0 ] || { echo "$0: needs root" >&2; exit 1; }

passed=0 failed=0 skipped=0
ok() { passed=$((passed + 1)); echo "ok $1"; }
fail() { failed=$((failed + 1)); echo "FAIL $1: $(printf '%s' "$2" | tr '\n' ' ' | cut -c1-500)"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $1: $2"; }
check() { # NAME COMMAND...: that it succeeds
    local name=$1 status=0
    shift
    "$@" >"$work/out" 2>&1 </dev/null || status=$?
    if [ $status = 0 ]; then ok "$name"; else fail "$name" "exit status $status: $(cat "$work/out")"; return 1; fi
}
refuses() { # NAME PATTERN COMMAND...: that it fails, and says why
    local name=$1 pattern=$2
    shift 2
    if "$@" >"$work/out" 2>&1 </dev/null; then
        fail "$name" "it succeeded"
    elif grep -qE -e "$pattern" "$work/out"; then
        ok "$name"
    else
        fail "$name" "\"$pattern\" is not in: $(cat "$work/out")"
    fi
}

work=$(mktemp -d /var/tmp/pyrunc-checkpoint.XXXXXX)
daemon=''
cleanup() {
    podman rm -af -t 0 >/dev/null 2>&1
    [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon"; } 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

volume=$work/volume
count='i=0; while :; do i=$((i+1)); echo $i >>/volume/counted; sleep 0.1; done'
counted() { wc -l <"$volume/counted"; }
fresh() { rm -rf "$volume"; mkdir "$volume"; : >"$volume/counted"; }
later() { # NUMBER: whether more than so many lines come within a minute, each the one before plus one
    local left=600
    until [ "$(counted)" -gt "$1" ]; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "it counts no further than $(counted)"; return 1; }
        sleep 0.1
    done
    awk '$1 != NR { print "line " NR " is " $1; bad = 1; exit } END { exit bad }' "$volume/counted"
}
beyond() { # LINES NUMBER: whether what comes after so many lines begins beyond a number
    local left=600 value
    until value=$(sed -n "$(($1 + 1))p" "$volume/counted") && [ -n "$value" ]; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "it does not count"; return 1; }
        sleep 0.1
    done
    [ "$value" -gt "$2" ] || { echo "it begins at $value, not beyond $2"; return 1; }
}
still() { # whether nothing counts any more
    local before
    before=$(counted)
    sleep 1
    [ "$(counted)" = "$before" ] || { echo "it still counts"; return 1; }
}

podman() { command podman --cgroup-manager cgroupfs --runtime "$runtime" "$@"; }
state_is() { # CONTAINER STATE
    local now
    now=$(podman inspect -f '{{.State.Status}}' "$1")
    [ "$now" = "$2" ] || { echo "$1 is $now"; return 1; }
}
begin() { # NAME OPTION...: a container that counts
    local name=$1
    shift
    fresh
    podman rm -af -t 0 >/dev/null 2>&1
    check "podman run -d${*:+ $*}" podman run -d --name "$name" --network none -v "$volume:/volume" "$@" box sh -c "$count" &&
        check "it counts" later 3
}

make_image() {
    local root=$work/rootfs name
    mkdir -p "$root"/{bin,tmp,etc,volume}
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for name in $("$root/bin/busybox" --list); do [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    tar -C "$root" -cf "$work/rootfs.tar" .
    podman import "$work/rootfs.tar" box
}

with_podman() {
    echo "$(command podman --version), $("$runtime" --version | head -n 1), $(criu --version | head -n 1)"
    local before

    begin plain || return
    check "podman container checkpoint" podman container checkpoint plain
    check "it has ended" state_is plain exited
    check "nothing counts" still
    before=$(counted)
    check "podman container restore" podman container restore plain
    check "it runs" state_is plain running
    check "it goes on where it was" later "$before"
    check "podman exec in what is restored" podman exec plain true
    check "podman pause" podman pause plain
    check "podman unpause" podman unpause plain
    check "checkpoint of what is restored" podman container checkpoint --keep plain
    check "--keep keeps the log" test -s "$(podman inspect -f '{{.State.CheckpointLog}}' plain)"
    before=$(counted)
    check "restore --keep" podman container restore --keep plain
    check "it goes on after the second time" later "$before"
    check "podman stop" podman stop -t 0 plain
    check "podman start begins anew" podman start plain
    podman rm -f -t 0 plain >/dev/null 2>&1

    begin running || return
    check "checkpoint --leave-running" podman container checkpoint -R running
    check "it has not been stopped" state_is running running
    check "it goes on counting" later "$(counted)"

    begin exported || return
    check "checkpoint --export" podman container checkpoint --export "$work/exported.tar.gz" exported
    check "rm of what was exported" podman rm exported
    before=$(counted)
    check "restore --import" podman container restore --import "$work/exported.tar.gz"
    check "the imported one goes on where it was" later "$before"
    podman rm -f -t 0 exported >/dev/null 2>&1
    # From where the export was: the count goes back to it.
    head -n "$before" "$volume/counted" >"$work/short" && cp "$work/short" "$volume/counted"
    check "restore --import --name" podman container restore --import "$work/exported.tar.gz" --name renamed
    check "it has the new name" state_is renamed running

    begin twice || return
    check "checkpoint --pre-checkpoint" podman container checkpoint -P -e "$work/pre.tar.gz" twice
    check "it goes on after a pre-checkpoint" later "$(counted)"
    check "checkpoint --with-previous" podman container checkpoint --with-previous -e "$work/full.tar.gz" twice
    podman rm -f -t 0 twice >/dev/null 2>&1
    before=$(counted)
    check "restore --import-previous" podman container restore --import-previous "$work/pre.tar.gz" --import "$work/full.tar.gz"
    check "it goes on from both" later "$before"

    fresh
    podman rm -af -t 0 >/dev/null 2>&1
    # nc ends when its standard input does.
    check "a container with a connection" podman run -d --name tcp --network none -v "$volume:/volume" box sh -c \
        "mkfifo /tmp/quiet; exec 5<>/tmp/quiet; nc -l -p 7000 <&5 >/volume/counted &
         while :; do (i=0; while :; do i=\$((i+1)); echo \$i; sleep 0.1; done) | nc 127.0.0.1 7000; sleep 0.1; done"
    check "it transfers" later 3
    refuses "a connection without --tcp-established" 'tcp-established|TCP' podman container checkpoint tcp
    check "it runs on after the refusal" state_is tcp running
    check "checkpoint --tcp-established" podman container checkpoint --tcp-established tcp
    before=$(counted)
    check "restore --tcp-established" podman container restore --tcp-established tcp
    check "the connection goes on" later "$before"

    fresh
    podman rm -af -t 0 >/dev/null 2>&1
    check "a container with a terminal" podman run -dt --name term --network none -v "$volume:/volume" box sh -c "$count"
    check "it counts" later 3
    check "checkpoint with a terminal" podman container checkpoint term
    before=$(counted)
    check "restore with a terminal" podman container restore term
    check "it goes on with a terminal" later "$before"
    podman rm -af -t 0 >/dev/null 2>&1
}

ctr() { command ctr --address /run/pyrunc-containerd.sock "$@"; }
task_is() { # TASK STATE
    local left=100
    until ctr task ls | grep -qE "^$1 +[0-9]+ +$2"; do
        left=$((left - 1))
        [ $left -gt 0 ] || { ctr task ls; return 1; }
        sleep 0.1
    done
}
start() { # NAME
    fresh
    check "ctr run -d $1" ctr run -d --runc-binary "$runtime" --mount "type=bind,src=$volume,dst=/volume,options=rbind:rw" \
        localhost/box:latest "$1" sh -c "$count" && check "it counts" later 3
}

with_containerd() {
    command -v containerd >/dev/null || { skip containerd "it is not installed"; return; }
    cat >"$work/config.toml" <<CONF
version = 2
root = "$work/root"
state = "/run/pyrunc-containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/pyrunc-containerd.sock"
[ttrpc]
address = "/run/pyrunc-containerd.sock.ttrpc"
CONF
    containerd --config "$work/config.toml" >"$work/containerd.log" 2>&1 </dev/null &
    daemon=$!
    local left=100 before at
    until ctr version >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || { fail "containerd starts" "$(tail -n 3 "$work/containerd.log")"; return; }
        sleep 0.1
    done
    containerd --version
    podman save -q -o "$work/box.tar" localhost/box:latest
    check "ctr images import" ctr images import "$work/box.tar" || return

    start alive || return
    mkdir "$work/images"
    check "ctr tasks checkpoint" ctr tasks checkpoint --image-path "$work/images/1" --work-path "$work/images" alive
    check "its images are there" test -s "$work/images/1/inventory.img"
    check "the task runs on" task_is alive RUNNING
    check "it goes on counting" later "$(counted)"
    check "ctr tasks checkpoint --exit" ctr tasks checkpoint --exit --image-path "$work/images/2" alive
    check "the task has ended" task_is alive STOPPED
    check "nothing counts" still
    check "ctr tasks delete" ctr tasks delete alive
    check "ctr containers delete" ctr containers delete alive

    start saved || return
    at=$(counted)
    check "ctr containers checkpoint --task" ctr containers checkpoint --task --rw --image saved saved-image
    ctr tasks kill -s KILL saved && task_is saved STOPPED
    ctr tasks delete saved >/dev/null 2>&1
    check "containers delete of what was saved" ctr containers delete saved
    before=$(counted)
    check "ctr containers restore --live" ctr containers restore --live again saved-image
    check "the restored task runs" task_is again RUNNING
    check "it goes on from the checkpoint" beyond "$before" "$at"
    check "ctr tasks exec" ctr tasks exec --exec-id one again true
    check "ctr tasks kill" ctr tasks kill -s KILL again
    check "the restored task ends" task_is again STOPPED
    # It gives the status of the task, 137.
    ctr tasks delete again >/dev/null 2>&1
    check "containers delete of what was restored" ctr containers delete again
}

for program in podman criu busybox; do
    command -v $program >/dev/null || { skip checkpoint "$program is not installed"; exit 0; }
done
check "podman import" make_image
[ "$only" = containerd ] || with_podman
[ "$only" = podman ] || with_containerd
echo "$passed ok, $failed failed, $skipped skipped"
[ $failed = 0 ]
