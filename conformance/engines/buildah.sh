#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks that buildah, and podman build, run the steps of a build with a runtime: conformance/engines/buildah.sh --runtime PATH
needs=buildah
. "$(dirname "$(realpath "$0")")/stage.sh"

# Caches outlive what made them, below this directory.
mkdir -m 1777 "$work/tmp"
export TMPDIR=$work/tmp
export CONTAINERS_CONF=$work/containers.conf work runtime parent in="--cgroup-parent /$parent"
printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=%s:%s"]\n' \
    "$(ulimit -n)" "$(ulimit -Hn)" "$(ulimit -u)" "$(ulimit -Hu)" >"$CONTAINERS_CONF"
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
buildah() { command buildah --root "$work/storage" --runroot /run/storage --storage-driver overlay "$@"; }
# The flag of a subcommand, so behind its name.
brun() { buildah run --runtime "$runtime" "$@"; }
from() { buildah from --pull=never --signature-policy "$work/policy.json" $in "$@"; }
build() { buildah build --runtime "$runtime" --signature-policy "$work/policy.json" --pull=never $in "$@"; }
export -f buildah brun from build
run() { # NAME STATUS PATTERN [OPTION...] CONTAINER COMMAND...
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" "$status" "$pattern" bash -c 'brun "$@"' brun "$@"
}
echo "$(command buildah --version), $("$runtime" --version | head -n 1)"

# A working container --------------------------------------------------------------------------------------
check "from scratch, with busybox" 0 '^box$' 'from --name box scratch && buildah copy -q box $work/rootfs / >/dev/null'
run "run" 0 '^hello$' box echo hello
run "its exit status" 37 '' box sh -c 'exit 37'
run "a command that is not there" 1 'no such file|not found' box /nowhere
run "a command that is not executable" 1 'permission denied' box /etc/passwd
for isolation in oci chroot; do
    run "--isolation $isolation" 0 '^isolated$' --isolation $isolation box echo isolated
done
if [ -n "$(command -v newuidmap)" ]; then
    run "--isolation rootless" 0 '^isolated$' --isolation rootless --network host box echo isolated
else
    skip "--isolation rootless" "newuidmap is not installed"
fi
run "--user by number" 0 '^77 88$' --user 77:88 box sh -c 'echo $(id -u) $(id -g)'
run "--user by name" 0 '^1234$' --user guest box id -u
run "--env" 0 '^there$' --env WHERE=there box sh -c 'echo $WHERE'
run "--workingdir" 0 '^/data$' --workingdir /data box pwd
run "--hostname" 0 '^whale$' --hostname whale box hostname
run "without --cap-add" 0 '^0$' box sh -c "$has_sys_admin"
run "--cap-add" 0 '^1$' --cap-add CAP_SYS_ADMIN box sh -c "$has_sys_admin"
run "--cap-drop" 1 'not permitted' --cap-drop CAP_CHOWN box chown 1:1 /data
run "the default seccomp profile" 0 '^Seccomp:.*2$' box grep Seccomp: /proc/self/status
mkdir "$work/volume"
echo shared >"$work/volume/file"
run "--volume" 0 '^shared$' --volume "$work/volume:/volume" box cat /volume/file
run "--volume with ro" 1 'Read-only file system' --volume "$work/volume:/volume:ro" box touch /volume/written
run "--mount type=bind" 0 '^shared$' --mount "type=bind,src=$work/volume,dst=/volume,ro" box cat /volume/file
run "--mount type=tmpfs" 0 '^tmpfs$' --mount type=tmpfs,dst=/scratch box sh -c 'awk "\$2 == \"/scratch\" { print \$3 }" /proc/mounts'
run "--network host" 0 "$(readlink /proc/self/ns/net | tr -dc 0-9)" --network host box readlink /proc/self/ns/net
run "--network none" 0 '^lo$' --network none box ls /sys/class/net
run "--pid host" 0 '' --pid host box sh -c 'test $$ != 1'
run "--ipc host and --uts host" 0 "^$(hostname)\$" --ipc host --uts host box hostname
run "a device" 0 '^crw' box ls -l /dev/null
check "--terminal" 0 '/dev/(pts/0|console)' 'script -qec "brun --terminal box tty" /dev/null'
check "--terminal with what is typed" 7 '' '(wait_for 20 grep -q "#" $work/typed; echo "exit 7"; sleep 20 &) | script -qfec "brun --terminal box sh" $work/typed'
check "standard input" 0 '^typed$' 'echo typed | brun box cat'
check "much output is whole" 0 '^16777216$' 'brun box head -c 16777216 /dev/zero | wc -c'
check "what a step writes is kept" 0 '^kept$' 'brun box sh -c "echo kept >/kept" && brun box cat /kept'
check "config of user, directory and environment" 0 '^1234 /tmp set$' \
    'buildah config --user guest --workingdir /tmp --env WORD=set box && brun box sh -c "echo \$(id -u) \$(pwd) \$WORD"; buildah config --user root --workingdir / box'
if controller memory; then
    check "--memory" 0 '^67108864$' 'from --name limited --memory 64m scratch >/dev/null && buildah copy -q limited $work/rootfs / >/dev/null && brun limited sh -c "$1" sh memory' "$inside_limit"
else
    skip "--memory" "this machine has no memory controller here"
fi
# A runtime that tells that it was called.
printf '#!/bin/sh\necho "$@" >>%s\nexec %s "$@"\n' "$work/called" "$runtime" >"$work/teller"
chmod 755 "$work/teller"
check "--runtime" 0 'create' 'buildah run --runtime $work/teller box true && cat $work/called; rm -f $work/called'
check "BUILDAH_RUNTIME" 0 'create' 'BUILDAH_RUNTIME=$work/teller buildah run box true && cat $work/called; rm -f $work/called'
check "--runtime-flag" 0 '--log-format=json create' 'buildah run --runtime $work/teller --runtime-flag log-format=json box true && cat $work/called'
check "commit" 0 . 'buildah commit -q --signature-policy $work/policy.json box localhost/box'
check "--userns-uid-map" 0 '^0 100000 5000$' 'from --name mapped --userns-uid-map 0:100000:5000 --userns-gid-map 0:100000:5000 localhost/box >/dev/null && brun mapped sh -c "echo \$(cat /proc/self/uid_map)"'

# A Containerfile ------------------------------------------------------------------------------------------
mkdir "$work/context"
echo copied >"$work/context/file"
tar -C "$work/volume" -cf "$work/context/archive.tar" file
cat >"$work/context/Containerfile" <<'FILE'
FROM localhost/box AS first
ARG WHOM=unset
ENV GREETING="hello $WHOM"
WORKDIR /made/here
RUN echo "$GREETING" >greeting && pwd >>greeting
RUN ["/bin/sh", "-c", "echo exec form >>greeting"]
SHELL ["/bin/busybox", "ash", "-e", "-c"]
RUN false && true; echo "$0" >/dev/null; echo shell >>greeting
COPY --chown=77:88 file /copied
ADD archive.tar /unpacked/
USER guest
RUN id -u >/tmp/who

FROM localhost/box AS unused
RUN exit 99

FROM localhost/box
COPY --from=first /made/here/greeting /tmp/who /copied /unpacked/file /result/
RUN --mount=type=bind,from=first,source=/made,target=/mnt cat /mnt/here/greeting >/result/bound
RUN --mount=type=tmpfs,target=/scratch grep " /scratch tmpfs" /proc/mounts >/result/tmpfs
RUN --mount=type=cache,target=/cache,id=kept echo x >>/cache/count && wc -l </cache/count >/result/count
RUN --mount=type=secret,id=quiet cat /run/secrets/quiet >/result/secret
RUN ls /run/secrets >/result/no-secret 2>&1 || :
VOLUME /volume
CMD ["cat", "/result/greeting"]
FILE
check "a Containerfile of several stages" 0 'COMMIT' 'printf hush >$work/quiet; build --layers=false --build-arg WHOM=world --secret id=quiet,src=$work/quiet -t built $work/context'
check "a container from what was built" 0 '^result$' 'from --name result localhost/built'
run "RUN with ENV, ARG, WORKDIR and SHELL" 0 '^hello world /made/here exec form shell $' result sh -c 'tr "\n" " " </result/greeting'
run "RUN with USER" 0 '^1234$' result cat /result/who
run "COPY --chown" 0 '^copied$' result cat /result/copied
run "ADD of an archive" 0 '^shared$' result cat /result/file
run "RUN --mount=type=bind" 0 '^hello world$' result cat /result/bound
run "RUN --mount=type=tmpfs" 0 'tmpfs' result cat /result/tmpfs
run "RUN --mount=type=secret" 0 '^hush$' result cat /result/secret
run "the secret is not there later" 1 '' result grep -r quiet /result/no-secret
check "RUN --mount=type=cache is kept" 0 '^2$' 'build -q --layers=false --build-arg WHOM=world --secret id=quiet,src=$work/quiet -t second $work/context >/dev/null && from --name second localhost/second >/dev/null && brun second cat /result/count'
check "the exit status of a RUN that fails" 23 '' 'printf "FROM localhost/box\nRUN exit 23\n" | build -f - $work/context'
check "a RUN whose command is not there" 127 'not found' 'printf "FROM localhost/box\nRUN /nowhere\n" | build -f - $work/context'
check "--layers takes from the cache" 0 'Using cache' 'printf "FROM localhost/box\nRUN echo once >/once\nRUN echo twice >/twice\n" >$work/layers && build -q --layers -f $work/layers $work/context >/dev/null && build --layers -f $work/layers $work/context'
check "--target" 0 '^guest$' 'build -q --layers=false --target first -t target $work/context >/dev/null && buildah inspect --type image --format "{{.OCIv1.Config.User}}" localhost/target'
for isolation in oci chroot; do
    check "build --isolation $isolation" 0 'isolated' 'printf "FROM localhost/box\nRUN echo isolated\n" | build --isolation $1 -f - $work/context' $isolation
done
check "build --network none" 0 '^lo$' 'printf "FROM localhost/box\nRUN ls /sys/class/net\n" | build --network none -f - $work/context'
check "build --cap-drop" 1 'not permitted' 'printf "FROM localhost/box\nRUN chown 1 /data\n" | build --cap-drop CAP_CHOWN -f - $work/context'
check "build --volume" 0 '^shared$' 'printf "FROM localhost/box\nRUN cat /given/file\n" | build --volume $work/volume:/given:ro -f - $work/context'
if command -v podman >/dev/null; then
    check "podman build" 0 'by podman' 'printf "FROM localhost/box\nRUN echo by podman\n" | podman --root $work/storage --runroot /run/storage --tmpdir /run/libpod --storage-driver overlay --cgroup-manager cgroupfs --events-backend file --runtime $runtime build --signature-policy $work/policy.json --pull=never $in -f - $work/context'
else
    skip "podman build" "podman is not installed"
fi
check "rm" 0 '^0$' 'buildah rm -a >/dev/null && buildah containers -q | wc -l'
finish
