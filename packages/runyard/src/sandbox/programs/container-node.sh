#!/bin/sh
# The host's node in a container, whatever C library its image has.
exec /run/runyard/ld.so --library-path /run/runyard/lib /run/runyard/node "$@"
