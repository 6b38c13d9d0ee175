#!/bin/bash
# boot.sh TREE NAME [DISK]: systemd as process 1 of a machine over a copy-on-write view of TREE.
#
# Called as the first process of new pid, mount, uts, ipc, net and cgroup namespaces. Whatever
# the machine writes is in memory, and gone with this process; or in DISK, a directory of a file
# system that keeps it, and may have what an earlier machine has written.
set -eu
TREE=$1 NAME=$2
mount --make-rprivate /
work=${3-/mnt}
[ "${3-}" ] || mount -t tmpfs tmpfs $work -o mode=755
new=1
[ ! -e $work/up ] || new=
mkdir -p $work/up $work/work $work/root
root=$work/root
# index=off: the kernel may still be letting go of the same disk after a power loss.
mount -t overlay overlay -o lowerdir="$TREE",upperdir=$work/up,workdir=$work/work,index=off $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t tmpfs tmpfs $root/dev -o mode=755
mkdir $root/dev/net $root/dev/pts $root/dev/shm
for device in null zero full random urandom tty net/tun; do
    [ -e /dev/$device ] || continue
    touch $root/dev/$device
    mount --bind /dev/$device $root/dev/$device
done
mount -t devpts devpts $root/dev/pts -o newinstance,ptmxmode=0666,mode=620,gid=5
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
for pair in 0:stdin 1:stdout 2:stderr; do ln -s fd/${pair%:*} $root/dev/${pair#*:}; done
mount -t tmpfs tmpfs $root/dev/shm -o mode=1777
mount -t tmpfs tmpfs $root/run -o mode=755
mount -t tmpfs tmpfs $root/tmp -o mode=1777
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup # of our own group: systemd sees no other tree
mount -t bpf bpf $root/sys/fs/bpf || true
if [ "$new" ]; then
    rm -f $root/etc/machine-id
    tr -d - </proc/sys/kernel/random/uuid >$root/etc/machine-id
    rm -rf $root/etc/systemd/system/*.wants # nothing runs that nobody asked for
    # As of a kernel that has WireGuard.
    [ ! -x /usr/bin/wireguard-go ] || cp /usr/bin/wireguard-go $root/usr/bin/
fi
echo "$NAME" >$root/etc/hostname
hostname "$NAME"
for unit in systemd-timesyncd systemd-logind console-getty systemd-udevd systemd-udev-trigger \
    systemd-modules-load systemd-firstboot; do
    ln -sf /dev/null $root/etc/systemd/system/$unit.service
done
ln -sf /dev/null $root/etc/systemd/system/getty.target
cd $root
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
mount --make-rshared / # else credentials of units would silently be empty
exec env -i container=bed PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --log-target=journal --show-status=0 systemd.unified_cgroup_hierarchy=1
