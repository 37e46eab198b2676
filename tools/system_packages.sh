#!/bin/bash
# Installs the Debian packages that are missing, as root; names them, as an ordinary user.
# Usage: system_packages.sh run|test|vm
set -euo pipefail

missing=()
need() {  # need PACKAGE COMMAND...: the package is missing when one of the commands fails
    local package=$1; shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

export PATH="$PATH:/usr/sbin:/sbin"
need python3-venv /usr/bin/python3 -c 'import venv, ensurepip'
need python3-dev test -e /usr/include/python3.11/Python.h -o -n "$(ls -d /usr/include/python3.*/Python.h 2>/dev/null)"
need gcc command -v gcc
need libc6-dev test -e /usr/include/stdio.h
need iproute2 command -v ip
need nftables command -v nft
need e2fsprogs command -v mkfs.ext4
need nodejs command -v node
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
if [ "${1:-run}" = test ]; then
    need util-linux command -v setpriv
    need curl command -v curl
    need openssl command -v openssl
    need nats-server command -v nats-server
    need npm command -v npm
    need fontconfig command -v fc-list
    need fonts-wqy-microhei test -e /usr/share/fonts/truetype/wqy/wqy-microhei.ttc
    need libodbc2 test -n "$(ls -d /usr/lib/*/libodbc.so.2 2>/dev/null)"
    need libsqliteodbc test -n "$(ls -d /usr/lib/*/odbc/libsqlite3odbc.so 2>/dev/null)"
fi
if [ "${1:-run}" = vm ]; then
    need qemu-system-x86 command -v qemu-system-x86_64
    need qemu-system-common test -x /usr/lib/qemu/virtiofsd
    need cpio command -v cpio
    need util-linux command -v setpriv
    need e2fsprogs command -v mkfs.ext4
fi

[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing system packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "These system packages are missing; what needs them will be left out or fail: ${missing[*]}" >&2
    echo "  sudo apt-get install ${missing[*]}" >&2
fi
