#!/bin/busybox sh
# First process of the virtual machine of `run.py`: mounts the host's tree read-only below an overlay in memory, runs
# the command there, and says on the second console how it ended.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /host /memory /root
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs dev /dev
for name in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_console fuse virtiofs overlay; do
    insmod /$name.ko
done
stty -F /dev/hvc0 raw
stty -F /dev/hvc1 raw
exec >/dev/hvc0 2>&1 </dev/null

argument() {  # argument NAME: what the kernel's command line says
    tr ' ' '\n' </proc/cmdline | sed -n "s/^funclet\.$1=//p" | base64 -d
}
layer=$(argument layer)
folder=$(argument folder)

mount -t virtiofs -o ro host /host && mount -t tmpfs -o size=90% memory /memory || poweroff -f
mkdir /memory/upper /memory/work
mount -t overlay -o "lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work" root /root || poweroff -f
cp -af "/host$layer/files/." /root/
mkdir -p /root/usr/lib/modules && mount -o bind "/host$layer/modules" /root/usr/lib/modules
for name in proc sys dev run tmp; do mkdir -p /root/$name; done
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts -o ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t tmpfs -o mode=755 run /root/run

# The kernel asks for modules by this name; the host may have no such program.
[ -e /root/sbin/modprobe ] || { cp /bin/busybox /root/sbin/busybox-of-vm; ln -s busybox-of-vm /root/sbin/modprobe; }

# /tmp and /var/tmp on a disk in memory: an overlay can neither show files as another user's nor hold files without a name.
truncate -s 8G /memory/file
mkdir /memory/disk
chroot /root /sbin/modprobe loop
losetup /dev/loop0 /memory/file
chroot /root /sbin/mkfs.ext4 -q -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 /dev/loop0
mount -o nodev,nosuid /dev/loop0 /memory/disk
mkdir -m 1777 /memory/disk/tmp /memory/disk/var-tmp
case $folder in
    /tmp/*) mkdir -p "/memory/disk$folder"; mount -o bind "/root$folder" "/memory/disk$folder" ;;
esac
mount -o rbind /memory/disk/tmp /root/tmp
mount -o bind /memory/disk/var-tmp /root/var/tmp

ip link set lo up
hostname funclet-vm
argument command >/root/run/command
echo "$folder" >/root/run/folder
cp /bin/busybox /root/run/
umount /proc /sys
# Not chroot: the kernel gives no user namespace to whoever was put in one.
exec switch_root /root /bin/bash -c '
    cd "$(cat /run/folder)" && (. /run/command) </dev/null
    echo $? >/dev/hvc1
    /run/busybox poweroff -f'
