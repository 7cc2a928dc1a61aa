#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian 12 that conformance/vm/machine.py boots, and does nothing when it is there already.
# usage: conformance/vm/image.sh [DIRECTORY]
# DIRECTORY (default: $PYRUNC_VM, or build/vm) gets root.ext4, vmlinuz (Debian's "cloud" kernel, whose drivers of
# disks and file systems are built in: no initramfs), and `contents`, by which a later call knows that nothing changed.
# Needs root, amd64, apt with Debian's sources, 3.5 GB while it works (0.8 GB afterwards), and some minutes.
set -euo pipefail
umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin

suite=bookworm
size=6G # of the sparse file
here=$(realpath "$(dirname "$0")")
top=$(realpath "$here/../..")
directory=${1:-${PYRUNC_VM:-$top/build/vm}}

fail() { echo "image.sh: $*" >&2; exit 1; }
tell() { echo "image.sh: [${SECONDS}s] $*" >&2; }
[ "$(id -u)" = 0 ] || fail "needs root"
[ "$(dpkg --print-architecture)" = amd64 ] || fail "amd64 only"
mkdir -p "$directory"
directory=$(realpath "$directory")

# A whole system, what the suites call, and what `make test` needs, so that it asks for nothing in there.
packages="systemd systemd-sysv dbus dbus-user-session libpam-systemd kmod udev login passwd
apparmor selinux-policy-default selinux-utils policycoreutils
runc crun podman buildah conmon catatonit criu slirp4netns fuse-overlayfs netavark aardvark-dns nftables iptables
jq bpftool attr acl libcap2-bin e2fsprogs file $("$top/csrc/build/packages" --list build test)"
packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')

# One build at a time; who waited finds it done.
exec 9>"$directory/.lock"
flock -w 1800 9 || fail "another build has held $directory/.lock for half an hour"
contents=$({ echo "$packages"; cat "$0" "$here/guest-job" "$here/as-user"; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$directory/contents" 2>/dev/null)" = "$contents" ]; then
    exit 0
fi
find "$directory" -maxdepth 1 -name 'unfinished.*' -exec rm -rf --one-file-system {} +
work=$(mktemp -d "$directory/unfinished.XXXXXX")
# mmdebstrap mounts in a namespace of its own: nothing should be mounted below, and if something is, it is spared.
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

quietly() { # PROGRAM ARGUMENT...: its output only when it fails
    timeout -k 20 1800 "$@" >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "$1 failed"; }
}
apt="apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o APT::Sandbox::User=root"

# The mirrors that the host's apt uses, without those that are not Debian's.
indexes() {
    apt-get indextargets --format '$(CODENAME)|$(SITE)' 'Identifier: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null
}
quietly $apt update
indexes | sort -u | while IFS='|' read -r codename site; do
    case $codename in
    $suite | $suite-updates | $suite-security)
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $codename main" ;;
    esac
done >"$work/sources.list"
grep -q " $suite main" "$work/sources.list" || fail "apt has no source of Debian $suite here"
apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv)' >"$work/apt.conf" || :

# The kernel is unpacked, not installed: its scripts would make an initramfs.
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
case $kernel in linux-image-*) ;; *) fail "which kernel? apt-cache says '$kernel'" ;; esac
tell "kernel $kernel"
mkdir "$work/kernel"
(cd "$work/kernel" && quietly $apt download "$kernel")
dpkg-deb -x "$work"/kernel/*.deb "$work/kernel"
release=$(basename "$work"/kernel/lib/modules/*)

tell "Debian $suite with $(echo $packages | wc -w) packages and what they need"
root=$work/root
quietly mmdebstrap --quiet --mode=root --variant=essential --format=directory \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --aptopt="$work/apt.conf" --aptopt='APT::Sandbox::User "root"' --aptopt='Acquire::Retries "3"' \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt=force-unsafe-io --include="$(echo $packages | tr ' ' ',')" \
    "$suite" "$root" "$work/sources.list"
rm -rf "$root"/var/cache/apt/archives "$root"/etc/cni/net.d/87-podman*
mkdir -p "$root/usr/lib/modules"
cp -a "$work/kernel/lib/modules/$release" "$root/usr/lib/modules/"
cp "$work/kernel/boot/config-$release" "$root/boot/" # CRIU and engines ask it
depmod -b "$root" "$release"

tell "settings"
echo vm >"$root/etc/hostname"
printf '127.0.0.1 localhost vm\n::1 localhost\n' >"$root/etc/hosts"
echo 00000000000000000000000000000001 >"$root/etc/machine-id" # known: nothing of a first boot
: >"$root/etc/fstab"
: >"$root/etc/resolv.conf"

# A user with subordinate ids, and all controllers for the managers of users (systemd.resource-control(5)).
chroot "$root" useradd -m -u 1000 -s /bin/bash tester
printf 'tester:100000:65536\n' | tee "$root/etc/subuid" >"$root/etc/subgid"
install -d "$root/etc/systemd/system/user@.service.d"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$root/etc/systemd/system/user@.service.d/delegate.conf"
install -m 0755 "$here/as-user" "$root/usr/local/bin/as-user"

# Whatever is not the job's own makes it slow or its results depend on the time of the day.
units=$root/etc/systemd/system
for unit in systemd-{udevd,udev-trigger,udev-settle,hwdb-update,random-seed,update-utmp,update-utmp-runlevel,update-done}.service \
    systemd-{machine-id-commit,firstboot,sysusers,binfmt,boot-system-token,pstore,journal-flush}.service \
    systemd-{journal-catalog-update,modules-load,remount-fs,fsck-root,rfkill,repart,tmpfiles-setup-dev}.service \
    systemd-{udevd-control,udevd-kernel,journald-audit}.socket systemd-ask-password-{console,wall}.path systemd-tmpfiles-clean.timer \
    proc-sys-fs-binfmt_misc.automount kmod-static-nodes.service modprobe@.service getty.target {getty,serial-getty}@.service \
    console-getty.service sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount \
    apparmor.service nftables.service e2scrub_reap.service selinux-autorelabel-mark.service \
    podman{,-auto-update,-restart}.service podman.socket {podman-auto-update,apt-daily,apt-daily-upgrade,dpkg-db-backup,e2scrub_all,fstrim}.timer; do
    rm -rf "${units:?}/$unit"
    ln -s /dev/null "$units/$unit"
done
find "$units" -mindepth 2 -type l -path '*.wants/*' ! -name 'dbus*' -delete
install -d "$root/etc/systemd/system.conf.d" "$root/etc/systemd/journald.conf.d" "$units/sockets.target.wants"
printf '[Manager]\nDefaultTimeoutStartSec=60s\nDefaultTimeoutStopSec=5s\nShowStatus=no\n' >"$root/etc/systemd/system.conf.d/vm.conf"
printf '[Journal]\nStorage=volatile\nAudit=no\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf.d/vm.conf"
printf 'kernel.printk=3 4 1 3\nkernel.dmesg_restrict=0\n' >"$root/etc/sysctl.d/90-vm.conf"
ln -sf /lib/systemd/system/dbus.socket "$units/sockets.target.wants/dbus.socket"
install -m 0755 "$here/guest-job" "$root/usr/local/lib/guest-job"
# Delegated, and no limits: the job is what the machine is for.
cat >"$units/guest-job.service" <<'END'
[Unit]
Description=What machine.py was asked to run
After=basic.target dbus.socket
Wants=dbus.socket
[Service]
Type=simple
ExecStart=/usr/local/lib/guest-job
StandardInput=null
StandardOutput=journal+console
StandardError=journal+console
TasksMax=infinity
LimitNOFILE=1048576
LimitMEMLOCK=infinity
OOMPolicy=continue
OOMScoreAdjust=-900
Delegate=yes
TimeoutStopSec=2s
END
cat >"$units/guest-job.target" <<'END'
[Unit]
Description=The guest's only purpose
Requires=basic.target
Wants=guest-job.service
After=basic.target
AllowIsolate=yes
END
ln -sf guest-job.target "$units/default.target"

# SELinux: permissive, and labelled here, so that nothing is labelled anew at boot. Debian's policy has no types of
# containers: it gets the two that engines use.
printf 'SELINUX=permissive\nSELINUXTYPE=default\nSETLOCALDEFS=0\n' >"$root/etc/selinux/config"
cat >"$root/var/tmp/containers.cil" <<'END'
(type container_t)
(roletype system_r container_t)
(roletype unconfined_r container_t)
(typeattributeset domain (container_t))
(type container_file_t)
(roletype object_r container_file_t)
(typeattributeset file_type (container_file_t))
END
quietly chroot "$root" semodule -s default -n -i /var/tmp/containers.cil
rm "$root/var/tmp/containers.cil"
label='mount -t proc proc "$1/proc" || exit
chroot "$1" setfiles -F -m -e /proc /etc/selinux/default/contexts/files/file_contexts /; status=$?
umount "$1/proc"; exit $status'
# In a chroot, whose "/" is no mount, there is no namespace with private mounts to be had.
if unshare -m --propagation private true 2>/dev/null; then
    quietly unshare -m --propagation private sh -c "$label" sh "$root"
else
    quietly sh -c "$label" sh "$root"
fi

tell "root.ext4 of $(du -sm "$root" | cut -f1) MB"
quietly mke2fs -q -F -t ext4 -O ^has_journal,^metadata_csum,^resize_inode -m 0 -N 262144 \
    -E lazy_itable_init=1,root_owner=0:0 -d "$root" "$work/root.ext4" $size
# A machine that runs goes on with the files that it has open.
rm -f "$directory/contents"
mv "$work/root.ext4" "$directory/root.ext4"
cp "$work/kernel/boot/vmlinuz-$release" "$directory/vmlinuz.new"
mv "$directory/vmlinuz.new" "$directory/vmlinuz"
echo "$contents" >"$directory/contents"
tell "done: $(du -m "$directory/root.ext4" | cut -f1) MB in $directory"
