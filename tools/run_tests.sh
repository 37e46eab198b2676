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
