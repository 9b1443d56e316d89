#!/bin/sh
# Starts run shims on request, so that the server never forks.
# Use: setsid env -i PATH=... sh spawner.sh <directory> <shim.sh>
# Door: the fifo <directory>/door; one line = one run directory (a line under 4096 bytes is written whole or not at all).
# Opening it for writing fails (ENXIO) when no spawner reads it: that is how a dead one is noticed.
umask 077
cd "$1" || exit 98
start=- boot=- reset=
[ -r /proc/$$/stat ] && read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat && {
  shim=$2; set -- ${stat##*) }; shift 19; start=$1; set -- . "$shim"; }
# A shell starts background commands with INT and QUIT ignored; where this env can undo it, the shim uses it.
/usr/bin/env --default-signal=INT,QUIT true 2>/dev/null && reset=reset
mkfifo "door.$$" && exec 3<>"door.$$" && mv "door.$$" door || exit 97   # a newer spawner takes the name over
echo "$$ $start $boot" >pid.tmp && mv pid.tmp pid || exit 97             # last: who is named here has the door
while IFS= read -r run <&3; do
  ( setsid sh "$2" "$run" $reset </dev/null >/dev/null 2>&1 3>&- & )    # forked twice: nothing to reap
done
