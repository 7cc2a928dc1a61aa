#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that what people read about containers holds under podman with a runtime: conformance/engines/walkthrough.sh --runtime PATH
# Limits are found in the cgroup's files, namespaces in lsns and by nsenter, the layers of a file system in their directories.
needs=podman
. "$(dirname "$(realpath "$0")")/stage.sh"
. "$here/podman-stage.sh"

detach --name walk --memory 128m --memory-swap 192m --cpus 0.5 --cpu-shares 512 --pids-limit 64 -p 127.0.0.1:8080:80 box \
    sh -c 'while :; do echo from the container | nc -l -p 80; done' || finish
pid=$(pid_of walk)
export pid

# Its cgroup -----------------------------------------------------------------------------------------------
holds() { # NAME CONTROLLER PATTERN FILE...
    local name=$1 controller=$2 pattern=$3
    shift 3
    if ! controller "$controller"; then
        skip "$name" "this machine has no $controller controller here"
    elif [ -z "$(limit walk "$controller" "$@")" ]; then
        skip "$name" "this kernel has no $*"
    else
        expect "$name" 0 "$pattern" bash -c 'limit "$@"' limit walk "$controller" "$@"
    fi
}
holds "128 MiB of memory" memory '^134217728$' memory.limit_in_bytes memory.max
holds "64 MiB of swap beside them" memory '^201326592$|^67108864$' memory.memsw.limit_in_bytes memory.swap.max
holds "half a CPU" cpu '^50000 100000$' cpu.cfs_quota_us cpu.cfs_period_us cpu.max
holds "half the CPU shares" cpu '^512$|^20$' cpu.shares cpu.weight
holds "64 processes" pids '^64$' pids.max
check "its process is in the cgroup" 0 '^yes$' 'grep -qx $pid $(cgroup_of $pid pids)/cgroup.procs && echo yes'
check "what it uses is counted" 0 '^[1-9]' 'limit walk pids pids.current'
if [ -n "$(cgroup_file self blkio blkio.weight blkio.bfq.weight io.bfq.weight)" ]; then
    check "a weight for block devices" 0 '(^| )300' 'podman run -d $in --name weighed --blkio-weight 300 box >/dev/null; limit weighed blkio blkio.weight blkio.bfq.weight io.bfq.weight; podman rm -f -t 0 weighed >/dev/null'
else
    skip "a weight for block devices" "the kernel has no scheduler of block devices that knows weights (CONFIG_IOSCHED_BFQ)"
fi
check "the limit of processes holds" 0 "can't fork" 'podman exec walk sh -c "for n in \$(busybox seq 80); do sleep 2 & done" 2>&1; wait_for 20 bash -c "[ \$(limit walk pids pids.current) -lt 5 ]"'
if controller memory; then
    check "the limit of memory holds" 137 '' 'podman exec walk sh -c "tail -c 250000000 /dev/zero >/dev/null"'
else
    skip "the limit of memory holds" "this machine has no memory controller here"
fi

# Its namespaces -------------------------------------------------------------------------------------------
for kind in mnt uts ipc pid net; do
    check "lsns shows its $kind namespace" 0 "^$kind +[0-9]+\$" 'lsns -n -o TYPE,PID -p $pid | grep -w "^$1"' $kind
    check "its $kind namespace is not the machine's" 0 '^apart$' '[ "$(readlink /proc/$pid/ns/$1)" != "$(readlink /proc/self/ns/$1)" ] && echo apart' $kind
done
check "it has the machine's user namespace" 0 '^same$' '[ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/self/ns/user)" ] && echo same'
check "nsenter into all of them" 0 '^walk-[0-9]+ eth0 root$' 'nsenter -t $pid -a /bin/sh -c "echo walk-\$\$ \$(ls /sys/class/net | grep eth0) \$(id -un)"'
check "nsenter into the network" 0 'inet 10\.' 'nsenter -t $pid -n ip addr show dev eth0'
check "nsenter into the host name" 0 '^same$' '[ "$(nsenter -t $pid -u hostname)" = "$(podman inspect -f "{{.Config.Hostname}}" walk)" ] && echo same'
check "nsenter into the mounts" 0 '^guest' 'nsenter -t $pid -m -r /bin/tail -n 1 /etc/passwd'
check "ps shows PID 1 alone" 0 '^1 ps$' 'podman run --rm $in box ps -o pid,comm | sed 1d | xargs'
check "the machine sees it under another number" 0 '^[1-9][0-9]*	1$' 'sed -n "s/^NSpid:.//p" /proc/$pid/status'
check "the machine sees its root" 0 '^guest' 'tail -n 1 /proc/$pid/root/etc/passwd'

# Its file system ------------------------------------------------------------------------------------------
directory() { podman inspect -f "{{.GraphDriver.Data.$1}}" walk; }
export -f directory
check "its root is an overlay" 0 '^overlay$' 'awk "\$2 == \"/\" { print \$3 }" /proc/$pid/mounts'
check "what it writes is in the upper directory" 0 '^written$' 'podman exec walk sh -c "echo written >/data/new" && cat $(directory UpperDir)/data/new'
check "and in the merged one" 0 '^written$' 'cat $(directory MergedDir)/data/new'
check "and in no lower one" 1 '' 'test -e $(directory LowerDir)/data/new'
check "a change copies the file up" 0 '^3 2$' 'podman exec walk sh -c "echo more:x:9:9::/: >>/etc/passwd" && echo $(wc -l <$(directory UpperDir)/etc/passwd) $(wc -l <$(directory LowerDir)/etc/passwd)'
check "a file that is removed is a whiteout" 0 '^character special file 0:0$' 'podman exec walk rm /etc/group && stat -c "%F %t:%T" $(directory UpperDir)/etc/group'
check "and still in the lower directory" 0 '^root:' 'head -n 1 $(directory LowerDir)/etc/group'
check "and gone in the container" 1 'No such file' 'podman exec walk cat /etc/group'
check "diff tells the three" 0 '^A /data/new C /etc/passwd D /etc/group$' 'podman diff walk | grep -E "new|passwd|group" | sort | xargs'
run "another container of the image has none of it" 0 '^2 root:x:0:$' box sh -c 'echo $(wc -l </etc/passwd) $(head -n 1 /etc/group) $(ls /data)'

# Its network ----------------------------------------------------------------------------------------------
check "a published port answers" 0 '^from the container$' 'wait_for 10 bash -c "busybox nc -w 5 127.0.0.1 8080 </dev/null >$work/answer; grep from $work/answer"; cat $work/answer'
check "its address answers" 0 '^from the container$' 'address=$(podman inspect -f "{{.NetworkSettings.IPAddress}}" walk); wait_for 10 bash -c "busybox nc -w 5 $address 80 </dev/null >$work/answer; grep from $work/answer"; cat $work/answer'

# Its end --------------------------------------------------------------------------------------------------
check "its cgroup ends with it" 0 '^gone$' 'directory=$(cgroup_of $pid pids); [ -d $directory ]; podman rm -f -t 0 walk >/dev/null; [ ! -e $directory ] && echo gone'
check "its mounts end with it" 0 '^0$' 'grep -c "$work/storage/overlay/.*/merged" /proc/self/mounts || :'
finish
