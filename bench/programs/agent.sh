#!/bin/sh
# The least agent that speaks ACP: one word for an answer. With a file as its argument it reads the session from there.
# A task with the word "wait" is never done, until stdin ends; with the word "ask" it asks for permission first.
[ -z "$1" ] || exec <"$1"
while IFS= read -r line; do
  id=${line#*\"id\":}
  id=${id%%,*}
  case $line in
  *'"method":"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":1,"agentCapabilities":{}}}' ;;
  *'"method":"session/new"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"sessionId":"s1"}}' ;;
  *'"method":"session/prompt"'*wait*) ;;
  *'"method":"session/prompt"'*'May I ask'*)
    echo '{"jsonrpc":"2.0","id":77,"method":"session/request_permission","params":{"sessionId":"s1","toolCall":{"toolCallId":"t1","title":"make","kind":"execute"},"options":[{"optionId":"y","kind":"allow_once","name":"Yes"},{"optionId":"n","kind":"reject_once","name":"No"}]}}'
    ;;
  *'"method":"session/prompt"'*)
    echo '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"ok"}}}}'
    echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"stopReason":"end_turn"}}'
    ;;
  esac
done
