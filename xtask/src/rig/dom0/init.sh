#!/usr/bin/busybox sh
# dom0's first process: mounts, modules, Xen's daemons, the bridge, the control channel.
bb=/usr/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
$bb mkdir -p /dev/pts /run/lock /run/xen /run/xenstored /var/log/xen /var/lib/xen /tmp
$bb mount -t devpts devpts /dev/pts
$bb --install -s /usr/bin 2>/dev/null # what is there already stays
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:$(echo /usr/lib/xen-*/bin)
export HOME=/root LANG=C

# The hotplug scripts read from /dev/stdin and /dev/fd; without these links `block` hangs.
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
ln -sf /run /var/run
ln -sf /run/lock /var/lock

while read -r module; do
    insmod "/lib/modules/$module.ko" || echo "rig: module $module does not load"
done </lib/modules/order
mount -t xenfs xenfs /proc/xen
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 share /share

# xen-init-dom0 must find no keys of dom0 in xenstore: it would take dom0 for set up already.
xenstored --pid-file /run/xenstored.pid
xen-init-dom0
# The consoles of all guests, and Xen's own, become files on the host.
xenconsoled --log=all --log-dir=/share/log --pid-file=/run/xenconsoled.pid

ip link set lo up
ip link add xenbr0 type bridge
ip link set eth0 master xenbr0 up
ip addr add 10.0.2.10/24 dev xenbr0
ip link set xenbr0 up
ip route add default via 10.0.2.2

# Only QEMU's gateway may connect, which forwards from the host's 127.0.0.1; `serve` then asks for a token.
setsid socat TCP-LISTEN:10,fork,reuseaddr,backlog=64,range=10.0.2.2/32 EXEC:/usr/lib/xenlet/serve &
echo "rig: dom0 is up"
while :; do sleep 60; done
