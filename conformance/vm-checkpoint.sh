#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs what needs a working CRIU: the tests of checkpoint and restore, and the engines' (conformance/vm/checkpoint.sh). As root, on
# a machine that is thrown away, with the packages criu, iproute2, iptables, nftables, and podman and containerd for the engines, and
# a kernel that its criu knows (Debian 12's 3.17: Linux 6.1, not 6.18). A missing CRIU is a failure here, and not a skip.
# usage: conformance/vm-checkpoint.sh [pytest argument...]      (with arguments: the tests alone)
# PYTHON names the interpreter that has pytest; build/ holds the executable, from `make`.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
export PYRUNC_MUST_RUN=1 PYTHONDONTWRITEBYTECODE=1
status=0
"${PYTHON:-build/venv/bin/python}" -m pytest -c tests/pytest.ini -p no:cacheprovider tests/integration/test_checkpoint*.py "$@" ||
    status=$?
[ $# -gt 0 ] || conformance/vm/checkpoint.sh --runtime build/pyrunc || status=1
exit $status
