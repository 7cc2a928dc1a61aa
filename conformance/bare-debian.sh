#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Proves on a bare Debian 12 that a fresh clone needs nothing but git and make: makes one with mmdebstrap, goes into it with
# namespaces of its own, clones this repository's HEAD there and runs the commands of the README.
# usage: conformance/bare-debian.sh [-k DIRECTORY] [COMMAND...]     (as root; without COMMAND: "make demo" and "make test")
#   -k DIRECTORY   keep the system there, and use it again when it is there already
# Needs mmdebstrap and the network that apt uses here; apt's and pip's settings of this machine hold inside too.
set -euo pipefail

usage() { sed -n 's/^# \(usage: .*\)/\1/p' "$0" >&2; exit 2; }
keep=
while getopts k: option; do
    case $option in
    k) keep=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ "$(id -u)" = 0 ] || { echo "bare-debian: needs root" >&2; exit 1; }
[ $# -gt 0 ] || set -- "make demo" "make test"
repository=$(cd "$(dirname "$0")/.." && pwd)

if [ "${PYRUNC_BARE:-}" != inside ]; then
    system=${keep:-$(mktemp -d)}
    chmod 755 "$system" 2>/dev/null || :
    if [ ! -x "$system/usr/bin/dpkg" ]; then
        command -v mmdebstrap >/dev/null || { echo "bare-debian: mmdebstrap is not installed" >&2; exit 1; }
        sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.list' -o -name '*.sources' 2>/dev/null |
            xargs -r grep -l bookworm) || :
        mmdebstrap --quiet --variant=minbase bookworm "$system" $sources
    fi
    status=0
    # A pid namespace, so that nothing that is started inside outlives this.
    PYRUNC_BARE=inside unshare -m -p -f --propagation private --kill-child -- \
        "$0" -k "$system" "$@" || status=$?
    [ -n "$keep" ] || rm -rf --one-file-system "$system"
    exit $status
fi

system=$keep
mount --bind "$system" "$system"
cd "$system"
for place in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/apt/apt.conf.d /etc/apt/auth.conf.d; do
    [ ! -e $place ] || cp -rL $place "./${place%/*}/"
done
# Certificates that this machine trusts, where pip and apt look for them.
for file in /etc/ssl/certs/ca-certificates.crt ${PIP_CERT:-} ${SSL_CERT_FILE:-}; do
    [ ! -e "$file" ] || install -D -m 644 "$file" "./$file"
done
rm -rf root/pyrunc root/pyrunc.git
git clone -q --bare "$repository" root/pyrunc.git
head=$(git -C "$repository" rev-parse HEAD)
git -C root/pyrunc.git branch -qf proof "$head"

mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mount -t tmpfs tmpfs tmp -o mode=1777
mount -t tmpfs tmpfs run -o mode=755
old=$(mktemp -d ./tmp/old.XXXX)
pivot_root . "$old"
cd /
umount -l "$old"
rmdir "$old"

export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset PYRUNC_BARE PIP_FIND_LINKS DISPLAY LANG LANGUAGE
export DEBIAN_FRONTEND=noninteractive
set -x
apt-get update -qq
apt-get install -y -qq --no-install-recommends git make >/dev/null
git clone -q -b proof /root/pyrunc.git /root/pyrunc
cd /root/pyrunc
for command; do
    SECONDS=0
    bash -c "$command" </dev/null
    echo "bare-debian: \"$command\" ended with 0 after $SECONDS s"
done
