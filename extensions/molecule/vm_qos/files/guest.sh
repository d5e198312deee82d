#!/bin/sh
# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: guest EVENT [GUEST]: has something happen to guest1 or another, until it answers after that, or to the daemon.
# An emulated guest sometimes ends paused, with an internal error of KVM: the guest is started then, and it happens again.
set -eu
guest=${2:-guest1}
number=${guest#guest}0

answers() {
    timeout 3 bash -c ": < /dev/tcp/10.77.1.$number/5201 && : < /dev/tcp/10.77.2.$number/5201" 2> /dev/null
}

comes_up() {
    end=$(($(date +%s) + 90))
    until answers; do
        [ "$(virsh domstate "$guest")" = running ] && [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 1
    done
}

# usage: is_started: until it answers; somebody may have started it already
is_started() {
    for try in 1 2 3 4 5 6 7 8; do
        [ "$(virsh domstate "$guest")" != 'shut off' ] || virsh --quiet start "$guest"
        ! comes_up || return 0
        echo "$guest was started and did not come up ($try)"
        virsh --quiet destroy "$guest"
    done
    return 1
}

event() {
    case $1 in
        restart)
            virsh --quiet shutdown "$guest"
            timeout 60 sh -c "until virsh domstate $guest | grep -q 'shut off'; do sleep 1; done"
            virsh --quiet start "$guest"
            ;;
        daemon) systemctl try-restart 'libvirtd*.service' 'virtqemud*.service' 'virtnetworkd*.service' ;;
        managedsave) virsh --quiet "managedsave $guest; start $guest" ;;
        save) virsh --quiet "save $guest /run/$guest.saved; restore /run/$guest.saved" ;;
    esac
}

if [ "$1" = start ]; then
    is_started
    exit
fi
for try in 1 2 3 4 5; do
    event "$1"
    ! comes_up || exit 0
    echo "$guest did not come up after it ($try)"
    virsh --quiet destroy "$guest"
    is_started
    [ "$1" != restart ] || exit 0 # that was one
done
exit 1
