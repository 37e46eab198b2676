#!/bin/bash
# Everything that can be judged without running the product.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()

run() {  # run NAME COMMAND...
    local name=$1; shift
    if output=$("$@" 2>&1); then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        echo "$output" | tail -n 60
        failed+=("$name")
    fi
}

run "format" $bin/ruff format --check .
run "lint" $bin/ruff check .
run "types" $bin/mypy
run "import contracts" $bin/lint-imports
run "docstrings" $bin/interrogate -q src/funclet
run "spelling" $bin/codespell
run "coverage page" $bin/python -m tools.coverage --check
run "permissions page" $bin/python tools/permissions.py --check
run "settings and error pages" $bin/python tools/settings.py --check
run "pages of proofs" $bin/python -m tools.proof_pages --check
run "size of modules" $bin/python tools/sizes.py
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
