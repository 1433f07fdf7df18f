#!/bin/sh
# Run a command whose temporary files are in a folder that is in memory, and are removed at its end.
#
#     sh tools/in-memory.sh /dev/shm 6000000 pytest tests
#
# If fewer kilobytes than that are free there, or TMPDIR says where else they are to be, it runs as it is.
# Tests make tens of thousands of small files: on a disk each costs a hundred times as much.
folder=$1 needed=$2
shift 2

free=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 {print $4}')
if [ -n "$TMPDIR" ] || [ ! -w "$folder" ] || [ "${free:-0}" -lt "$needed" ]; then
    exec "$@"
fi
TMPDIR=$(mktemp -d "$folder/wrenla-XXXXXX") || exit
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$@"
