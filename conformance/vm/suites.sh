#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the project's suites in whole systems: virtual machines with systemd as process 1, all capabilities, AppArmor
# or SELinux, and the hierarchies of cgroups as systemd mounts them. `make conformance-vm` is this.
# usage: conformance/vm/suites.sh [SUITE...]
#   v2             `make test` in cgroup v2 with all controllers: units, C, and the black-box tests
#   v1             the black-box tests in cgroup v1
#   hybrid         what depends on the hierarchies, in v1 with the unified one beside it
#   selinux        what depends on labels, with SELinux instead of AppArmor
#   checkpoint     checkpoint and restore, with CRIU on a kernel that it knows
#   systemd        the systemd cgroup driver in v2, and systemd-v1 in v1
#   runtime-tools  the OCI's validation in v2, and runtime-tools-v1 in v1
# A line a suite tells how it went; what it printed is in build/conformance-vm/. Ends with 0 if all passed.
# $PYRUNC_VM names the directory of the machine's image (default build/vm); $PYRUNC_VM_SECONDS bounds each suite.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
top=$(realpath "$here/../..")
logs=$top/build/conformance-vm
seconds=${PYRUNC_VM_SECONDS:-7200}
schemas=${PYRUNC_OFFICIAL_SCHEMA:-$top/../shared/oci-spec}
image=${PYRUNC_VM:-$top/build/vm}
mkdir -p "$logs"

# The guest works on a copy at the same path, but for the thousands of files of build/venv: its own disk is much faster
# than a directory of the host. Its /tmp is to be on the disk as well: a tmpfs cannot be id-mapped before Linux 6.3.
copy='mount --bind /var/tmp /tmp && mkdir -p "$0" && cd "$0" || exit 125
tar -C /mnt/source --exclude=./build/vm --exclude=./build/venv --exclude=./.git --exclude=./.*_cache -c . | tar -x || exit 125
ln -s /mnt/source/build/venv build/venv
export PYTHON=$0/build/venv/bin/python PYTHONPATH=$0/runtime:$0/build/ext PYTHONDONTWRITEBYTECODE=1
exec "$@"'

in_guest() { # OPTION... -- COMMAND...
    local options=(--image "$image" --timeout "$seconds" --memory 3072 --share "$top:/mnt/source:ro")
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    [ ! -d "$schemas" ] || options+=(--share "$schemas:/mnt/schemas:ro" --env PYRUNC_OFFICIAL_SCHEMA=/mnt/schemas)
    "$here/machine.py" "${options[@]}" -- sh -c "$copy" "$top" "$@"
}

tests() { printf "$top/tests/integration/test_%s.py " "$@"; }

suite() {
    case $1 in
    v2) in_guest -- make test ;;
    v1) in_guest --cgroups v1 -- tests/run-lane hybrid ;;
    hybrid) in_guest --cgroups hybrid -- tests/run-lane hybrid $(tests cgroups cgroup_driver cgroup_path update events \
        pause lifecycle acceptance rootless exec) ;;
    selinux) in_guest --selinux -- tests/run-lane hybrid $(tests security_modules lifecycle exec mounts rootfs terminal \
        devices user_namespaces) ;;
    checkpoint) in_guest -- conformance/vm-checkpoint.sh ;;
    systemd) in_guest -- conformance/vm/systemd.sh --runtime build/pyrunc ;;
    systemd-v1) in_guest --cgroups v1 -- conformance/vm/systemd.sh --runtime build/pyrunc ;;
    runtime-tools) in_guest -- build/venv/bin/python conformance/runtime_tools --runtime build/pyrunc --layout v2 ;;
    runtime-tools-v1)
        in_guest --cgroups v1 -- build/venv/bin/python conformance/runtime_tools --runtime build/pyrunc --layout v1 ;;
    esac
}

all="v2 v1 hybrid selinux checkpoint systemd systemd-v1 runtime-tools runtime-tools-v1"
[ $# -gt 0 ] || set -- $all
for name; do
    case " $all " in *" $name "*) ;; *) sed -n 's/^# \(usage: .*\)/\1/p' "$0" >&2; exit 2 ;; esac
done
passed=0
for name; do
    SECONDS=0
    status=0
    suite "$name" </dev/null >"$logs/$name.log" 2>&1 || status=$?
    # The last line in which the suite counts: pytest's, or its own.
    told=$(grep -E '(passed|failed|error|skipped)[^/]* in [0-9.]+|[0-9]+ ok, [0-9]+ failed|^[a-z0-9-]+: [0-9]+ of [0-9]+' "$logs/$name.log" | tail -1 | tr -d =) || :
    case $status in
    0) word=passed passed=$((passed + 1)) ;;
    124) word="FAILED (not done after $seconds s)" ;;
    *) word="FAILED (exit $status)" ;;
    esac
    echo "$name: $word:${told:- nothing counted} [${SECONDS} s]"
done
echo "conformance-vm: $passed of $# suites passed; see $logs"
[ $passed = $# ]
