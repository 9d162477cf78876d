#!/bin/sh
# First process of the guest, on the writable overlay. The words in capitals with an at sign on each side are filled in by initramfs.rs.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS1 2>&1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
# Not /tmp: the work tree may lie there, and the overlay is memory as well.
for folder in /dev/shm /run; do mount -t tmpfs tmpfs "$folder"; done
chmod 1777 /dev/shm
mkdir -p /run/netns /var/lib/netd /etc/netd
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
ln -sfn /proc/self/fd /dev/fd
ip link set lo up
ulimit -n 20000
hostname guest 2>/dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
# What a host with a firewall and a bridge has in its kernel since it booted. Emulated, that takes ten seconds, which the first container's start has not.
modprobe -a bridge veth nft_chain_nat nft_nat nft_masq nft_ct nft_fib_inet nft_reject_inet sch_ingress cls_bpf || echo "could not load what a firewall and a bridge need"
echo "netd-guest start"
cd @FOLDER@ && env @ENV@ @COMMAND@
code=$?
echo
echo "netd-guest exit $code"
# Who reads this line stops the machine.
sleep 60
echo o >/proc/sysrq-trigger
sleep 60
