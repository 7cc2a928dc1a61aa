#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of checkpoint and restore where CRIU works: as root, on a machine with the packages
# criu, iproute2 and iptables, and a kernel that its criu knows (Debian 12's 3.17: Linux 6.1, not
# 6.18). A missing CRIU is a failure here, and not a skip.
# usage: conformance/vm-checkpoint.sh [pytest argument...]
# PYTHON names the interpreter that has pytest; build/ holds the executable, from `make`.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
export PYRUNC_MUST_RUN=1 PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-build/venv/bin/python}" -m pytest -c tests/pytest.ini -p no:cacheprovider \
    tests/integration/test_checkpoint*.py "$@"
