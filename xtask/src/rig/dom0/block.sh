#!/usr/bin/busybox sh
# What Xen's `block` does, for the drives that the rig plugs in: `xl` runs it as a guest's disk comes and goes.
# Emulated, the original takes ten seconds. It is there too, for disks that are named without this script.
[ "$1" = add ] || exit 0
drive=$(xenstore-read "$XENBUS_PATH/params")
if [ -b "$drive" ]; then
    exec xenstore-write "$XENBUS_PATH/physical-device" "$(stat -L -c %t:%T "$drive")" \
        "$XENBUS_PATH/physical-device-path" "$drive" "$XENBUS_PATH/hotplug-status" connected
fi
exec xenstore-write "$XENBUS_PATH/hotplug-error" "$drive is no drive" "$XENBUS_PATH/hotplug-status" error
