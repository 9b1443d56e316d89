#!/bin/sh
# Journals one command's stdio in a run directory, so that the command outlives its server.
# Use: setsid env -i PATH=... sh shim.sh <run directory> [reset]
# Reads: join (cgroup.procs paths), args and filter (descriptors 9 and 8 of the command), cmd (environment and words).
# Doors: bell (any line = new bytes in `in`; q = deliver them, then close stdin), alive (EOF = the shim is dead).
# Leaves: started, pid, in, out, err, exit. A second start on the same directory does nothing.
# exit 96: the command's files cannot be read; 97: the shim could not set itself up. Both say why in err.
umask 077
cd "$1" || exit 98
reset=$2 group= start=- boot=-

leave() { [ "$group" = "$$" ] && kill -KILL 0; exit; }
refuse() { trap - EXIT; echo "runyard: the command was not started: $2" >>err; printf '%-15s\n' "$1" 1<>exit; leave; }

set -C                                     # O_EXCL: at most one shim in a run directory, for ever
true >started || { [ -e started ] && exit; refuse 97 "$1 cannot be written"; }
set +C
trap 'refuse 97 "the shim could not set itself up"' EXIT   # also when the shell gives up, as on a failed fork
exec 2>>err
[ -r /proc/$$/stat ] && read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat && {
  set -- ${stat##*) }; group=$3; shift 19; start=$1; }

[ -r join ] || refuse 96 "its file join cannot be read"
while IFS= read -r procs; do               # before anything is forked, so that all of the run is inside
  echo 0 >"$procs" || refuse 97 "the control group $procs cannot be joined"
done <join
[ -r cmd ] || refuse 96 "its file cmd cannot be read"
for file in args filter; do [ ! -e $file ] || [ -r $file ] || refuse 96 "its file $file cannot be read"; done
mkfifo bell alive stdin stdout && true >>in && true >>out || refuse 97 "the run directory cannot be set up"
[ -s exit ] || printf '%-15s\n' none >exit || refuse 97 "the disk is full"   # keeps its block: writable later, whatever happens
exec 3<>bell 5<>alive

# In-pump. `cat` goes on at the file offset that descriptor 4 keeps; the bell is held read-write, so it never ends.
# Whoever may wait at a fifo lets go of `alive` in a command before that one: while a command opens its files, the
# shell keeps a copy of what the same command closes, and a pump would hold the life line of a shim that was killed.
( exec 5>&-
  exec 4<in >stdin
  while read -r ring <&3; do cat <&4 || exit; [ "$ring" = q ] && exit; done ) & inp=$!
exec 3>&-
( exec 5>&-
  exec cat <stdout >>out ) & outp=$!       # out-pump: the command never holds its own journal
hit=0 child= rc= patience=2
trap 'hit=1 patience=0.05; [ -z "$child" ] || kill -KILL $child 2>/dev/null' TERM   # from here on: who reads pid may send it
echo "$$ $start $boot" >pid || refuse 97 "the disk is full"

# The command. Nothing of the shim runs after `cmd` was read, so no exported value can change what the shim does.
( umask 022
  exec 5>&-
  exec <stdin >stdout
  [ ! -e args ] || exec 9<args
  [ ! -e filter ] || exec 8<filter
  { echo 500 >/proc/self/oom_score_adj; } 2>/dev/null      # short of memory, the kernel takes the command and not its shim
  if [ -n "$reset" ]; then . ./cmd; case $1 in *=*) ;; *) exec /usr/bin/env --default-signal=INT,QUIT "$@" ;; esac
  else . ./cmd; fi
  exec "$@" ) & child=$!
trap - EXIT

[ $hit = 0 ] || kill -KILL $child          # TERM came before the command did
while :; do                                # after a trap dash gives 127 for a child that it has reaped: keep the first status
  wait $child; r=$?
  [ "$r" = 127 ] && [ -n "$rc" ] || rc=$r
  [ $hit = 1 ] || break
  hit=0
done
trap '' TERM
kill $inp 2>/dev/null
( exec 5>&- 2>/dev/null; sleep $patience; kill $outp ) &           # a leftover child may hold stdout open for ever
wait $outp
printf '%-15s\n' "$rc" 1<>exit             # the last thing that is written; in place, since a fork could fail here
leave
