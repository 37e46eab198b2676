#!/bin/bash
# Runs, in the virtual machine, what needs its kernel: NFS, and that instances are limited by control groups v2.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ]; then
    echo "left out: tests in the virtual machine, which is made of Debian packages for amd64"
    exit 0
fi
make -s .venv/vm/.ready
echo "on another kernel, with control groups v2: limits, ends, file servers"
# What has to do with control groups; nothing whose point is how long something takes.
groups="full and (memory or cpu_seconds or orphans or daemons or same_time or close_ends"
groups+=" or leaves_the_others or fork_bomb or cpu_share or dies_with or processes)"
.venv/bin/python tools/vm/run.py --limit-s 480 \
    env FUNCLET_START_DEADLINE_S=120 .venv/bin/python -m pytest -q -p no:cacheprovider --tb=short --durations=5 \
    tests/vm tests/contract/test_sandbox.py tests/contract/test_sandbox_confinement.py tests/contract/test_sandboxd.py \
    tests/e2e/test_confinement.py \
    -k "test_nfs or delegated or $groups or what_a_killed_one_left or nothing_is_left or takes_too_much_memory"
