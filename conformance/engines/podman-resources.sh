# SPDX-License-Identifier: Apache-2.0
# Sourced by podman.sh: what a container may use, sees, and shares with others.

# Limits, read back from the cgroup files ------------------------------------------------------------------
limited() { # NAME CONTROLLER PATTERN FILES OPTION...
    local name=$1 controller=$2 pattern=$3 files=$4
    shift 4
    if ! controller "$controller"; then skip "$name" "this machine has no $controller controller here"; return; fi
    if detach --name limited "$@" box sleep 1000; then
        check "$name" 0 "$pattern" "limit limited $controller $files"
        remove limited
    fi
}
limited --memory memory '^67108864$' 'memory.limit_in_bytes memory.max' --memory 64m
limited --memory-reservation memory '^33554432$' 'memory.soft_limit_in_bytes memory.low' --memory-reservation 32m
limited --pids-limit pids '^42$' 'pids.max' --pids-limit 42
limited --cpus cpu '^150000 100000$' 'cpu.cfs_quota_us cpu.cfs_period_us cpu.max' --cpus 1.5
limited --cpu-quota cpu '^20000 50000$' 'cpu.cfs_quota_us cpu.cfs_period_us cpu.max' --cpu-quota 20000 --cpu-period 50000
limited --cpuset-cpus cpuset '^0$' 'cpuset.cpus' --cpuset-cpus 0
run "--memory as the container sees it" 0 '^67108864$' --memory 64m box sh -c "$inside_limit" sh memory
run "more memory than --memory" 137 '' --memory 16m --memory-swap 16m box sh -c 'head -c 60000000 /dev/zero | tail -c 50000000 >/dev/null'
run "more processes than --pids-limit" 2 "can't fork|Resource temporarily" --pids-limit 3 box sh -c 'sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait'
if detach --name changed --memory 64m box sleep 1000; then
    if controller memory; then
        check "update" 0 '^134217728$' 'podman update --memory 128m changed >/dev/null && limit changed memory memory.limit_in_bytes memory.max'
    else
        skip update "this machine has no memory controller here"
    fi
    check "--cgroup-parent" 0 "/$parent/libpod-" 'cgroup_of $(pid_of changed) pids'
    remove changed
fi
run "--cgroupns private" 0 '^/$' --cgroupns private box sh -c 'sed -n "s/^[0-9]*:[^:]*://p" /proc/self/cgroup | sort -u'
run "--cgroupns host" 0 "/$parent/" --cgroupns host box cat /proc/self/cgroup
if ! "$runtime" --help | grep -q -e --cgroup-manager; then
    skip "--cgroups disabled" "the runtime has no --cgroup-manager"
else
    check "--cgroups disabled" 0 '^yes$' 'podman run --rm --cgroups disabled box echo yes'
fi

# Files ----------------------------------------------------------------------------------------------------
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "--read-only" 1 'Read-only file system' --read-only box touch /written
run "--read-only has a /tmp" 0 '' --read-only box touch /tmp/written
run "without --read-only" 0 '' box touch /written
run "-v" 0 '^shared$' -v "$work/volume:/volume" box cat /volume/file
run "-v with ro" 1 'Read-only file system' -v "$work/volume:/volume:ro" box touch /volume/written
run "-v with noexec and nosuid" 0 'nosuid,.*noexec' -v "$work/volume:/volume:noexec,nosuid" box grep ' /volume ' /proc/mounts
run "-v of a file" 0 '^shared$' -v "$work/volume/file:/etc/motd" box cat /etc/motd
run "--mount type=bind" 0 '^shared$' --mount "type=bind,src=$work/volume,dst=/a/new/place,ro" box cat /a/new/place/file
run "--tmpfs" 0 '^tmpfs 1024$' --tmpfs /scratch:size=1m box sh -c 'echo $(awk "\$2 == \"/scratch\" { print \$3 }" /proc/mounts) $(df -k /scratch | awk "END { print \$2 }")'
run "--mount type=tmpfs with a mode" 0 '^drwx-----T|^d.*1700|^1700$' --mount type=tmpfs,dst=/scratch,tmpfs-mode=1700 box stat -c %a /scratch
run "--mount type=image" 0 '^root:' --mount type=image,src=box,dst=/image box head -n 1 /image/etc/passwd
check "a named volume is kept" 0 '^kept$' 'podman run --rm $in -v kept:/keep box sh -c "echo kept >/keep/file" && podman run --rm $in -v kept:/other box cat /other/file'
check "a new volume has what the image has there" 0 'passwd' 'podman run --rm $in -v copied:/etc box ls /etc'
check "a volume's owner with U" 0 '^77$' 'podman run --rm $in --user 77 -v owned:/owned:U box stat -c %u /owned'
check "--volumes-from" 0 '^shared$' 'podman create --name source -v $work/volume:/volume box true >/dev/null && podman run --rm $in --volumes-from source box cat /volume/file; podman rm source >/dev/null'
mkdir "$work/propagation" "$work/plain"
mount -t tmpfs propagation "$work/propagation"
mkdir "$work/propagation/host" "$work/propagation/container"
mount --make-shared "$work/propagation"
run "rprivate by default" 0 '^0$' -v "$work/propagation:/p" box sh -c 'grep -c " /p .*shared:" /proc/self/mountinfo || :'
check "rshared: a mount of the container reaches the host" 0 '^tmpfs$' 'podman run --rm $in --cap-add sys_admin --security-opt seccomp=unconfined -v $work/propagation:/p:rshared box mount -t tmpfs inner /p/container && stat -f -c %T $work/propagation/container; umount $work/propagation/container'
for way in rslave:1 rprivate:0; do
    detach --name waits -v "$work/propagation:/p:${way%:*}" box sleep 1000 || continue
    check "${way%:*}: a mount of the host reaches the container ${way#*:} times" 0 "^${way#*:}\$" \
        'mount -t tmpfs outer $work/propagation/host; podman exec waits grep -c " /p/host " /proc/mounts || :; umount $work/propagation/host'
    remove waits
done
umount "$work/propagation"
run "--device" 0 '^crw.* 1, *5 ' --device /dev/zero:/dev/nil box ls -l /dev/nil
# Nothing answers at a major of the range for experiments: ENXIO where the cgroup allows it, else EPERM.
mknod /dev/experiment c 240 77
run "--device with what it permits" 1 'No such device or address' --device /dev/experiment:/dev/e:r box cat /dev/e
run "--device with what it does not permit" 1 'not permitted' --device /dev/experiment:/dev/e:r box sh -c 'echo >/dev/e'
run "a device that is not allowed" 1 'not permitted' --cap-add mknod box sh -c 'mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg'
run "--device-cgroup-rule" 0 '^0000$' --cap-add mknod --device-cgroup-rule 'c 1:5 rwm' box sh -c 'mknod /tmp/zero c 1 5 && head -c 2 /tmp/zero | od -A n -t x1 | tr -d " "'
check "secrets as file and environment" 0 '^hush hush$' 'printf hush | podman secret create quiet - >/dev/null && podman run --rm $in --secret quiet --secret quiet,type=env,target=QUIET box sh -c "echo \$(cat /run/secrets/quiet) \$QUIET"; podman secret rm quiet >/dev/null'
mkdir "$work/hooks"
cat >"$work/hook" <<HOOK
#!/bin/sh
echo "\$1 \$(sed 's/.*"status": *"\([a-z]*\)".*/\1/' | tr -d '\n')" >>$work/hooked
HOOK
chmod 755 "$work/hook"
for stage in prestart poststart poststop; do
    echo "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"$work/hook\", \"args\": [\"hook\", \"$stage\"]}, \"when\": {\"always\": true}, \"stages\": [\"$stage\"]}" >"$work/hooks/$stage.json"
done
check "--hooks-dir" 0 '^prestart creat(ed|ing) poststart (created|running) poststop stopped $' 'podman --hooks-dir $work/hooks run --rm $in box true && tr "\n" " " <$work/hooked'
run "--rootfs" 0 '^guest' --rootfs "$rootfs" tail -n 1 /etc/passwd

# Namespaces -----------------------------------------------------------------------------------------------
run "--pid host" 0 '' --pid host box sh -c 'test $$ != 1'
run "--ipc host and --uts host" 0 "^$(hostname)$" --ipc host --uts host box hostname
run "--network none" 0 '^lo$' --network none box sh -c 'ls /sys/class/net'
run "--network host" 0 "$(readlink /proc/self/ns/net | tr -dc 0-9)" --network host box readlink /proc/self/ns/net
run "the default bridge network" 0 'inet (addr:)?10\.' box ip addr show dev eth0
if detach --name share -p 127.0.0.1:8080:80 --shm-size 3m box sh -c 'while :; do echo from the server | nc -l -p 80; done'; then
    address=$(call inspect -f '{{.NetworkSettings.IPAddress}}' share)
    run "two containers on the bridge" 0 '^from the server$' box sh -c 'until nc -w 5 "$1" 80 </dev/null; do sleep 0.1; done' sh "$address"
    check "a published port" 0 '^from the server$' 'wait_for 10 bash -c "busybox nc -w 5 127.0.0.1 8080 </dev/null >$work/answer; grep from $work/answer"; cat $work/answer'
    check "port" 0 '^80/tcp -> 127.0.0.1:8080$' 'podman port share'
    for kind in net pid ipc; do
        option=$kind
        [ $kind != net ] || option=network
        check "--$option container:NAME" 0 '^same$' '[ "$(podman run --rm $in --$1 container:share box readlink /proc/self/ns/$2)" = "$(readlink /proc/$(pid_of share)/ns/$2)" ] && echo same' "$option" $kind
    done
    run "the processes of --pid container:NAME" 0 'nc -l' --pid container:share box ps
    remove share
fi
ip netns add made && run "--network ns:PATH" 0 '^lo$' --network ns:/run/netns/made box ls /sys/class/net
ip netns del made
check "a network of its own with an address" 0 '10\.77\.0\.9' 'podman network create --subnet 10.77.0.0/24 own >/dev/null && podman run --rm $in --network own --ip 10.77.0.9 box ip addr show dev eth0; podman network rm own >/dev/null'
run "--uidmap and --gidmap" 0 '^0 100000 5000 0 200000 6000 0$' --uidmap 0:100000:5000 --gidmap 0:200000:6000 box sh -c 'echo $(cat /proc/self/uid_map /proc/self/gid_map) $(id -u)'
run "--userns=auto" 0 '^0 200000 1024$' --userns=auto:size=1024 box sh -c 'echo $(cat /proc/self/uid_map)'
run "a volume in a user namespace" 0 '^shared 65534$' --uidmap 0:100000:5000 -v "$work/volume:/volume" box sh -c 'echo $(cat /volume/file) $(stat -c %u /volume/file)'
if command -v newuidmap >/dev/null && setpriv --reuid daemon --regid daemon --clear-groups test -x "$runtime" 2>/dev/null; then
    mkdir -p /run/user/1 "$work/home"
    chown -R daemon:daemon /run/user/1 "$work/home"
    chmod 711 "$work"
    check "--userns keep-id, as an ordinary user" 0 '^1 1 daemon$' 'as="setpriv --reuid daemon --regid daemon --clear-groups env -i PATH=$PATH HOME=$work/home XDG_RUNTIME_DIR=/run/user/1 podman --storage-driver vfs --cgroup-manager cgroupfs --events-backend file --runtime $runtime"
        cd / && $as import -q $work/rootfs.tar mine >/dev/null && $as run --rm --network none --userns keep-id mine sh -c "echo \$(id -u) \$(id -g) \$(id -un)"'
else
    skip "--userns keep-id, as an ordinary user" "newuidmap is missing, or $runtime is where no other user can reach it"
fi
run "--userns host" 0 '^0 0 4294967295$' --userns host box sh -c 'echo $(cat /proc/self/uid_map)'

# Pods -----------------------------------------------------------------------------------------------------
check "pod create" 0 . 'podman pod create --name pod --cgroup-parent "/$parent" --infra-image box --infra-command "sleep 1000"'
check "a container in a pod" 0 '^eth0$' 'podman run --rm --pod pod box ls /sys/class/net'
check "containers of a pod share" 0 '^same$' 'podman run -d --pod pod --name first box sleep 1000 >/dev/null && [ "$(podman run --rm --pod pod box sh -c "for n in net ipc uts; do readlink /proc/self/ns/\$n; done")" = "$(cd /proc/$(pid_of first)/ns && readlink net ipc uts)" ] && echo same'
check "pod ps" 0 'pod +Running' 'podman pod ps'
check "pod pause and unpause" 0 '^paused running$' 'podman pod pause pod >/dev/null && first=$(podman inspect -f "{{.State.Status}}" first) && podman pod unpause pod >/dev/null && echo $first $(podman inspect -f "{{.State.Status}}" first)'
check "pod top" 0 'sleep 1000' 'podman pod top pod args'
check "pod stats" 0 'first' 'podman pod stats --no-stream pod'
check "pod stop and start" 0 '^exited running$' 'podman pod stop -t 0 pod >/dev/null; first=$(podman inspect -f "{{.State.Status}}" first) && podman pod start pod >/dev/null && echo $first $(podman inspect -f "{{.State.Status}}" first)'
check "generate kube" 0 'kind: Pod' 'podman generate kube pod'
check "pod rm" 0 . 'podman pod rm -f -t 0 pod'
cat >"$work/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  containers:
  - {name: main, image: localhost/box, imagePullPolicy: Never, command: [/bin/sh, -c, "echo $WORD; exec sleep 1000"], env: [{name: WORD, value: played}]}
YAML
check "play kube" 0 '^played$' 'podman play kube $work/pod.yaml >/dev/null && wait_for 10 bash -c "podman logs kube-main | grep played"; podman logs kube-main'
# podman leaves the cgroup of such a pod, which cannot be told where to be, where no controller is.
kube=$(call pod inspect kube --format '{{.CgroupPath}}')
check "play kube --down" 0 '' 'podman play kube --down $work/pod.yaml && ! podman pod exists kube'
for directory in /sys/fs/cgroup${kube:?} /sys/fs/cgroup/*$kube; do [ ! -d "$directory" ] || find "$directory" -depth -type d -exec rmdir {} +; done

# sd_notify(3) ---------------------------------------------------------------------------------------------
cat >"$work/notified" <<'PYTHON'
"""Runs a command with a notify socket, prints what arrives there until it says that it is ready."""
import os, socket, subprocess, sys
path = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(path)
receiver.settimeout(30)
os.chmod(path, 0o777)
command = subprocess.Popen(sys.argv[2:], env={**os.environ, "NOTIFY_SOCKET": path})
text = ""
while "READY=1" not in text:
    text += receiver.recv(4096).decode() + "\n"
print(text)
sys.exit(command.wait(30))
PYTHON
check "--sdnotify=conmon" 0 '^READY=1$' '/usr/bin/python3 $work/notified $work/one.sock bash -c "podman run --rm \$in --sdnotify conmon box true"'
loader=$(realpath "$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-*.so.1 2>/dev/null | head -n 1)")
libraries=$(dirname "$(ldconfig -p | sed -n 's/.*libc\.so\.6 .*=> //p' | head -n 1)")
say='import os, socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])'
check "--sdnotify=container" 0 '^READY=1$' '/usr/bin/python3 $work/notified $work/two.sock bash -c "podman run --rm \$in --sdnotify container -v /:/host:ro box sh -c \"\$0\"" "$1"' \
    "PYTHONHOME=/host/usr /host$loader --library-path /host$libraries:/host/usr$libraries /host/usr/bin/python3 -c '$say'"
