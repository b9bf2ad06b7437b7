#!/bin/sh
# npm run demo: pulls an image, runs a pod, looks at it, stops it, on a machine of its own (scripts/demo.ts). Needs root.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
sh "$root/scripts/install.sh" demo
cd "$root"
exec sh scripts/node.sh --disable-warning=ExperimentalWarning scripts/demo.ts "$@"
