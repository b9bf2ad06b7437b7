#!/bin/busybox sh
# The first program of a virtual machine (vm.ts), from its initial RAM disk: finds the disks, puts a file system in memory upon the
# read-only root, and hands over to the agent. Modules are numbered in the order in which they must come.
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
mount -t ext4 -o ro,noload /dev/vda /lower
mount -t tmpfs tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /root
mount -t tmpfs -o mode=755 tmpfs /root/run
mount -t tmpfs tmpfs /root/tmp
mount -t sysfs sys /root/sys
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
mount --move /proc /root/proc
mount --move /dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs tmpfs /root/dev/shm
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
hostname machine
export PATH=/usr/sbin:/usr/bin
export HOME=/root
exec /bin/switch_root /root /usr/bin/tini -s -- /opt/node /opt/agent.mjs
