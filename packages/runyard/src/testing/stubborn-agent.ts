import { processesWith } from "../sandbox/testing/processes.ts";

/**
 * An agent in POSIX sh that speaks ACP, and that nobody gets rid of by asking: it and what it starts ignore
 * TERM, INT and HUP, hold its pipes or have let go of all of them, and have left its session and its parents; eight chains of processes
 * live for a hundredth of a second each, and start their successor first. Everything bears the word that it is
 * given, in its command line or its environment.
 */
export const STUBBORN_AGENT = `#!/bin/sh
trap '' TERM INT HUP
MARK=$1
export MARK
[ "$2" = hop ] && { sleep 0.01; /bin/sh "$0" "$1" hop & exit 0; }
stay() { trap '' TERM INT HUP; while :; do sleep 1000; done; }
begin() {
  stay &
  setsid /bin/sh -c 'trap "" TERM INT HUP; while :; do sleep 1000; done' "$MARK" &
  (setsid /bin/sh -c '(trap "" TERM INT HUP; cd /; sleep 1000; sleep 1000) & exit 0' "$MARK" &)
  (cd / && exec setsid /bin/sh -c 'trap "" TERM INT HUP; while :; do sleep 1000; done' "$MARK" >/dev/null 2>&1 </dev/null &)
  for n in 1 2 3 4 5 6 7 8; do (setsid /bin/sh "$0" "$MARK" hop &); done
}
while IFS= read -r line; do
  id=\${line#*\\"id\\":}
  id=\${id%%,*}
  case $line in
  *'"method":"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":1,"agentCapabilities":{}}}' ;;
  *'"method":"session/new"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"sessionId":"s1"}}' ;;
  *'"method":"session/prompt"'*)
    begin
    echo '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"plan","entries":[{"content":"Stay","status":"in_progress","priority":"high"}]}}}'
    ;;
  esac
done
stay
`;

/** Processes that bear a word in their command line or environment, other than this one. */
export function bearersOf(word: string): number[] {
  return processesWith(word, ["cmdline", "environ"]);
}
