# SPDX-License-Identifier: Apache-2.0
# Sourced after stage.sh by the checks that use podman: a podman with a storage, networks and settings of its own, and the image "box".
# It must not check anything but that.

export CONTAINERS_CONF=$work/containers.conf
backend=cni
[ ! -x /usr/lib/podman/netavark ] || backend=netavark
cat >"$CONTAINERS_CONF" <<CONF
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "under-test"
infra_image = "localhost/box"
runtime_supports_nocgroup = ["$(basename "$runtime")"]
[engine.runtimes]
under-test = ["$runtime"]
[network]
network_backend = "$backend"
network_config_dir = "$work/networks"
CONF
mkdir "$work/networks"
in="--cgroup-parent /$parent"
# With the runtime that the settings name.
configured_podman() {
    command podman --root "$work/storage" --runroot /run/storage --tmpdir /run/libpod --storage-driver overlay --cgroup-manager cgroupfs "$@"
}
podman() { configured_podman --runtime "$runtime" "$@"; }
pid_of() { podman inspect -f '{{.State.Pid}}' "$1"; }
# CONTAINER CONTROLLER NAME...: what the files of its cgroup say.
limit() { local name=$1; shift; cgroup_file "$(pid_of "$name")" "$@"; }
export -f configured_podman podman pid_of limit
export work runtime parent in
# podman 4.3 starts a container as soon as conmon's socket listens: what the container says before conmon accepts, podman does
# not get (1 of 80 runs of `echo hello` with runc 1.1.5 on a busy machine).
tries=3
run() { # NAME STATUS PATTERN OPTION... IMAGE COMMAND...
    local name=$1 status=$2 pattern=$3
    shift 3
    expect "$name" "$status" "$pattern" bash -c 'podman run --rm $in "$@"' podman "$@"
}
call() { bash -c 'podman "$@"' podman "$@"; }
detach() { call run -d $in "$@" >"$work/id" 2>"$work/err" </dev/null || { fail "$1 $2" "$(cat "$work/err")"; return 1; }; }
remove() { call rm -f -t 0 "$@" >/dev/null 2>&1; }

echo "$(command podman --version), $("$runtime" --version | head -n 1)"
check import 0 . 'podman import --change "CMD [\"sleep\", \"1000\"]" $work/rootfs.tar box'
