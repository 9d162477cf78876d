#!/bin/busybox sh
# First process of the initramfs: shows this machine's root as an overlay and goes over to it. Words between at signs are filled in by initramfs.rs.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS1 2>&1
for module in @MODULES@; do insmod "/modules/$module" || echo "could not load $module"; done
mount -t virtiofs -o ro rootfs /host || echo "could not mount this machine's root"
mount -t tmpfs -o mode=755,size=75% tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /merged || echo "could not lay the overlay"
mkdir -p /merged/lib/modules /merged/proc /merged/dev
ln -sfn @MODULES_FOLDER@ /merged/lib/modules/@RELEASE@
cp /guest.sh /merged/netd-guest.sh
umount /proc /dev 2>/dev/null
exec switch_root /merged /bin/sh /netd-guest.sh
