# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The texts that a host keeps: the program that brings a tree back, and what runs it when the device appears."""

from __future__ import annotations

# Not tc alone: a batch that fails half-way may leave a tree without its default class, which drops what it cannot
# place. The kernel's own qdisc takes its place then: no limits rather than no traffic.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
COMMANDS = ("sh", "tc", "flock", "setsid")  # what it needs that not every host has
PROGRAM = (
    f"""\
#!/bin/sh
# Made by the Ansible collection virtnet.qos, which makes it anew.
# Brings a device's HFSC tree back from a tc batch; an empty one is the kernel's own qdisc.
# Usage: restore DEVICE BATCH [HOLD [LOCK [INDEX [SECONDS]]]]
# With HOLD, the folder of a change that waits to be confirmed: after SECONDS, only if it still waits, and on the
# device that had INDEX, whatever its name is now.
# LOCK is what a run holds that is at work on the device; an empty one is none.
export PATH={PATH} LC_ALL=C.UTF-8
"""
    + """\
device=$1 batch=$2 hold=${3-} index=${5-$(cat "/sys/class/net/$1/ifindex")}
lock=${4-/run/virtnet-qos-$(stat -Lc %i /proc/self/ns/net)-$index.lock}
umask 077 # nobody else holds the lock
cd / # not to keep a file system busy
trap : TERM INT HUP # whoever ends tc has what is below done all the same

# Not tc's word alone: a batch that was cut short is a tree, too, but one that may drop everything.
whole() {
    root=$(tc qdisc show dev "$device" root) &&
        default=$(echo "$root" | sed -n 's/^qdisc hfsc .* default \\(0x\\)*\\([0-9a-f]*\\).*/\\2/p') &&
        [ -n "$default" ] && tc class show dev "$device" | grep -q "^class hfsc [0-9a-f]*:$default "
}

[ -z "${6-}" ] || sleep "$6"
# A run that is at work ends first, unless it hangs. (No flock -w, which busybox has not.)
if [ -n "$lock" ] && command exec 9<>"$lock"; then
    tries=0
    until flock -n 9 || [ "$tries" -ge 30 ]; do
        tries=$((tries + 1))
        sleep 1
    done
fi
if [ -n "$hold" ]; then
    # Whoever renames it first decides: this, or the confirmation.
    if ! mv "$hold/pending" "$hold/expired" 2>/dev/null; then
        # Nobody asks about it any more.
        [ ! -e "$hold/confirmed" ] || rm -r "$hold"
        rmdir "${hold%/*}" "${hold%/*/*}" 2>/dev/null
        exit 0
    fi
    name=$(ip -o link | sed -n "s/^$index: \\([^:@]*\\)[:@].*/\\1/p")
    # Nothing was changed yet, or the device is gone, and one of its name is another.
    if [ ! -e "$hold/changed" ] || [ -z "$name" ]; then
        mv "$hold/expired" "$hold/restored"
        exit 0
    fi
    command exec 2>"$hold/log"
    if [ "$name" != "$device" ]; then
        echo "$device is called $name now." >&2
        sed -i "/^[^#]/s/ dev $device / dev $name /" "$batch"
        device=$name
    fi
fi

made() {
    if [ -s "$batch" ]; then
        tc -batch "$batch" && whole
    elif [ "${batch##*/}" = before.tc ]; then
        root=$(tc qdisc show dev "$device" root) && [ "${root#qdisc hfsc}" = "$root" ]
    else
        echo "$batch is empty." >&2
        false
    fi
}

tc qdisc del dev "$device" root 2>/dev/null
if made; then
    state=restored
else
    state=failed
    tc qdisc del dev "$device" root 2>/dev/null
    now=$(tc qdisc show dev "$device" root 2>&1)
    echo "The tree of $device could not be made. What it has now, without limits: $now" >&2
fi

if [ -n "$hold" ]; then
    cat "$hold/log"
    mv "$hold/expired" "$hold/$state"
fi
[ "$state" = restored ]
"""
)

# For a device that is plugged in late or made by the network, nobody waits for the unit, but systemd-networkd waits for
# udev, and NetworkManager does for what it did not make itself. What fails here the unit tries again, and says so.
# Events are replayed, by netplan for one, which the kernel says in SYNTH_UUID (Documentation/ABI/testing/sysfs-uevent).
# A device that systemd knows already has what it has then, and keeps it. Of one that was taken away and made again at
# once, systemd 262 does not notice that it is another, and starts no unit.
APPEARED = (
    f"""\
#!/bin/sh
# Made by the Ansible collection virtnet.qos, which makes it anew.
# Has a device have its tree when it appears: by udev, before anybody is told that it is there, and then by its unit,
# which does it again unless udev has just done it.
# Usage: appeared udev|unit DEVICE
export PATH={PATH} LC_ALL=C.UTF-8
"""
    + """\
device=$2 folder=$(dirname "$0")
name=$(systemd-escape -- "$device") index=$(cat "/sys/class/net/$device/ifindex") || exit
batch=$folder/$device.tc made=/run/virtnet-qos-made-$index
umask 077 # nobody else holds the lock

if [ "$1" = unit ]; then
    recent=$(find "$made" -newer "$batch" -mmin -2 2>/dev/null) # a unit that was not started has left older ones
    rm -f "$made"
    [ -z "$recent" ] || exit 0
    sh "$folder/restore" "$device" "$batch"
    status=$?
    rm -f "$made" # of udev, if that was still at it
    exit "$status"
fi
systemctl --root=/ --quiet is-enabled "virtnet-qos@$name.service" || exit 0
[ -z "${SYNTH_UUID-}" ] || ! systemctl --quiet is-active "sys-subsystem-net-devices-$name.device" || exit 0
command exec 9<>"/run/virtnet-qos-$(stat -Lc %i /proc/self/ns/net)-$index.lock" && flock -n 9 || exit 0
case $(tc qdisc show dev "$device" root) in "qdisc hfsc "*) exit 0 ;; esac
sh "$folder/restore" "$device" "$batch" "" "" && : >"$made"
"""
)
RULE = """\
# Made by the Ansible collection virtnet.qos, which makes it anew.
ACTION=="add|move", SUBSYSTEM=="net", TEST=="{folder}/$name.tc", RUN+="/bin/sh {folder}/appeared udev $name"
"""

# It is started by the device, whenever that appears, and stopped with it; a NIC's comes before the network does.
# The limit of its job is how long a NIC that is gone holds up a boot; without one, for 90 seconds, as systemd's
# DefaultDeviceTimeoutSec= has it. It counts from early on, so a slow host has used up some of it when its NICs appear.
UNIT = """\
# Made by the Ansible collection virtnet.qos, which makes it anew.
[Unit]
Description=HFSC tree of %I
Documentation=https://github.com/virtnet/virtnet.qos/blob/main/docs/safe-changes.md
DefaultDependencies=no
ConditionPathExists={folder}/%I.tc
RequiresMountsFor={folder}
BindsTo=sys-subsystem-net-devices-%i.device
After=sys-subsystem-net-devices-%i.device
Wants=network-pre.target
Before=network-pre.target
Conflicts=shutdown.target
Before=shutdown.target
JobTimeoutSec=60
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
OOMScoreAdjust=-1000
TimeoutStartSec=60
ExecStart=/bin/sh {folder}/appeared unit %I

[Install]
WantedBy=sys-subsystem-net-devices-%i.device
"""
