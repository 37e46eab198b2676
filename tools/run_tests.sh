#!/bin/bash
# Runs all tests, as root those too that make namespaces and cgroups.
# Those that measure no time run beside the others, with what these leave of the processors.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"
select=()
[ "$(id -u)" = 0 ] || select=(-m "not root")
beside=(tests/unit tests/docs tests/clients tests/api tests/contract/test_store*.py)
for name in applications built_dependencies cli code_from_stores dependencies_at_work external_key libraries oidc \
    package_layouts templates_run; do
    beside+=("tests/e2e/test_$name.py")
done
apart=$(mktemp -d)
end() {
    local running
    running=$(jobs -p)
    # Told to stop, they stop the servers that they have started.
    [ -z "$running" ] || kill -INT "$running" 2>/dev/null || true
    rm -rf "$apart"
}
trap end EXIT

node --test runtimes/nodejs/tests/*.test.js >"$apart/node" 2>&1 || { cat "$apart/node"; exit 1; }
grep -E '^# (tests|pass|fail)' "$apart/node"
nice -n 19 .venv/bin/pytest -q "${select[@]}" "${beside[@]}" >"$apart/beside" 2>&1 &
failed=0
.venv/bin/pytest -q "${select[@]}" runtimes/python3/tests tests "${beside[@]/#/--ignore=}" || failed=$?
[ $failed != 2 ] || exit 2  # interrupted
echo "beside them: ${beside[*]}"
wait $! || failed=1
cat "$apart/beside"
# With nothing beside it: on an emulated processor, what takes a second elsewhere comes near the limits of the server.
[ "$(id -u)" != 0 ] || tools/vm/test.sh || failed=1
[ $failed = 0 ] || exit 1
echo "once more with the compiled package: requests from the socket to the sandbox and back"
.venv-compiled/bin/pytest -q "${select[@]}" tests/api/test_hostile_http.py tests/api/test_auth_sdk.py \
    tests/e2e/test_invocation.py tests/e2e/test_gateway_and_timers.py tests/e2e/test_pipelining.py \
    tests/e2e/test_lifecycle.py tests/e2e/test_processes.py tests/e2e/test_watching.py
