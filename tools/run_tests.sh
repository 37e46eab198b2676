#!/bin/bash
# Runs all tests, as root those too that make namespaces and cgroups.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"
select=()
[ "$(id -u)" = 0 ] || select=(-m "not root")
node --test runtimes/nodejs/tests/*.test.js >/tmp/funclet-node-tests.$$ 2>&1 || { cat /tmp/funclet-node-tests.$$; exit 1; }
grep -E '^# (tests|pass|fail)' /tmp/funclet-node-tests.$$; rm -f /tmp/funclet-node-tests.$$
.venv/bin/pytest -q "${select[@]}" runtimes/python3/tests tests
echo "once more with the compiled package: requests from the socket to the sandbox and back"
.venv-compiled/bin/pytest -q "${select[@]}" tests/api/test_hostile_http.py tests/api/test_auth_sdk.py \
    tests/e2e/test_invocation.py tests/e2e/test_gateway_and_timers.py tests/e2e/test_pipelining.py \
    tests/e2e/test_lifecycle.py tests/e2e/test_processes.py tests/e2e/test_watching.py
