#!/usr/bin/busybox sh
# The first process of the Linux guest: mounts, modules, the network, the services.
bb=/usr/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
$bb mkdir -p /dev/pts /dev/shm /run /tmp
$bb mount -t tmpfs tmpfs /dev/shm # fio's processes share memory
$bb --install -s /usr/bin 2>/dev/null # what is there already stays
export PATH=/usr/sbin:/usr/bin LANG=C
while read -r module; do
    insmod "/lib/modules/$module.ko" || echo "linux: module $module does not load"
done </lib/modules/order

for word in $(cat /proc/cmdline); do
    case $word in address=*) address=${word#*=} ;; esac
done
ip link set lo up
ip addr add "$address" dev eth0
ip link set eth0 up

mkdir -p /var/log/nginx /var/lib/nginx
nginx -c /etc/nginx/nginx.conf
if [ -e /usr/bin/socat ]; then # not where only pages are served
    socat TCP-LISTEN:9000,fork,reuseaddr EXEC:/usr/lib/bench/blk &
    socat TCP-LISTEN:9,fork,reuseaddr EXEC:"dd of=/dev/null bs=256k status=none",nofork &
fi
echo "linux: up"
while :; do sleep 3600; done
