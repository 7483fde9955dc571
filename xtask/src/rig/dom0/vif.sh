#!/usr/bin/busybox sh
# What Xen's vif-bridge does, for the rig's one bridge: `xl` runs it as a guest's interface comes and goes.
# Of processes it starts two where the original starts sixty; emulated, those take ten seconds.
[ "$1" = online ] || exit 0
if ip link set "$vif" up master xenbr0; then
    exec xenstore-write "$XENBUS_PATH/hotplug-status" connected
fi
exec xenstore-write "$XENBUS_PATH/hotplug-error" "$vif cannot join xenbr0" "$XENBUS_PATH/hotplug-status" error
