#!/bin/bash
# Installs the Debian packages that the benchmarks need, as root; names them, as an ordinary user.
set -euo pipefail

export PATH="$PATH:/usr/sbin:/sbin"
missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v taskset >/dev/null || missing+=(util-linux)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing system packages: ${missing[*]}"
    # nginx is started by the benchmarks only: without this, Debian would serve port 80 from now on.
    trap 'rm -f "$policy"' EXIT
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=$(mktemp -u); else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "These system packages are missing; without wrk nothing can be measured: ${missing[*]}" >&2
    echo "  sudo apt-get install ${missing[*]}" >&2
fi
