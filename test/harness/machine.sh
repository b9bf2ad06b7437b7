#!/bin/sh
# machine.sh DIR OWN…: makes the namespaces it runs in look like a node that was just set up (machine.ts), says so, and
# ends when its input does. DIR is empty but for etc, etc.work, lib, lib.work, log, and a directory for each OWN.
set -eu
dir=$1
shift
mount -t tmpfs -o mode=755 tmpfs /run
mount -t overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/etc.work" overlay /etc
mount -t overlay -o "lowerdir=/var/lib,upperdir=$dir/lib,workdir=$dir/lib.work" overlay /var/lib
mount --bind "$dir/log" /var/log
for own in "$@"; do
  mkdir -p "$own"
  mount --bind "$dir/$(echo "$own" | tr / _)" "$own"
done
mkdir -p /run/lock
# crun refuses the hybrid layout of cgroups, so its v2 half goes; a v2 mount at /sys/fs/cgroup itself stays.
if grep -q ' /sys/fs/cgroup/unified cgroup2 ' /proc/mounts; then umount /sys/fs/cgroup/unified; fi
hostname machine
ip link set lo up
echo ready
exec cat > /dev/null
