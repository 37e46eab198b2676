#!/bin/bash
# Fills a folder with what the virtual machine of `run.py` boots and lays below the host's file tree. Installs nothing.
# Usage: fetch.sh FOLDER
set -euo pipefail
folder=$(realpath -m "$1")
cd "$(dirname "$0")"
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || { echo "The virtual machine is made of Debian packages for amd64."; exit 1; }
rm -rf "$folder" && mkdir -p "$folder"/{packages,kernel,initramfs/bin,layer}

depends() {  # depends PACKAGE PATTERN: the first dependency that fits
    apt-cache depends "$1" | sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1
}

image=$(depends linux-image-cloud-amd64 'linux-image-.*-cloud-amd64')
[ -n "$image" ] || { apt-get update -qq; image=$(depends linux-image-cloud-amd64 'linux-image-.*-cloud-amd64'); }
server=(nfs-kernel-server nfs-common rpcbind libwrap0 libtirpc3 libtirpc-common libnfsidmap1 libevent-core-2.1-7)
(cd "$folder/packages" && apt-get download -qq -o APT::Sandbox::User= "$image" busybox-static "${server[@]}")

dpkg -x "$folder/packages/$image"_*.deb "$folder/kernel"
mv "$folder"/kernel/boot/vmlinuz-* "$folder/vmlinuz"
busybox=$folder/busybox
dpkg -x "$folder"/packages/busybox-static_*.deb "$folder/kernel"
mv "$folder/kernel/bin/busybox" "$busybox"
version=$(ls "$folder/kernel/lib/modules")
"$busybox" depmod -b "$folder/kernel" "$version"

# Beside the host's files, where /lib and /sbin are links into /usr.
files=$folder/layer/files
for package in "${server[@]}"; do
    dpkg -x "$folder/packages/${package}"_*.deb "$files"
done
for name in bin sbin lib; do
    [ ! -e "$files/$name" ] || { mkdir -p "$files/usr/$name"; cp -a "$files/$name/." "$files/usr/$name/"; rm -r "${files:?}/$name"; }
done
rm -r "$files/usr/share"
mkdir -p "$folder/layer/modules"
mv "$folder/kernel/lib/modules/$version" "$folder/layer/modules/"

# The first file system: busybox, the modules that reach the host's tree, and `init`.
cp "$busybox" "$folder/initramfs/bin/"
modules=$folder/layer/modules/$version/kernel
for name in drivers/virtio/{virtio,virtio_ring,virtio_pci_modern_dev,virtio_pci_legacy_dev,virtio_pci} \
    drivers/char/virtio_console fs/fuse/{fuse,virtiofs} fs/overlayfs/overlay; do
    cp "$modules/$name.ko" "$folder/initramfs/"
done
install -m 755 init.sh "$folder/initramfs/init"
(cd "$folder/initramfs" && find . | cpio --quiet -o -H newc | gzip -1 >"$folder/initramfs.gz")
rm -r "$folder"/{packages,kernel,initramfs}
