#!/bin/sh
# npm run bench [-- --only pod_up,pull_cold] [--runs N] [--peers ours]: ours beside Debian's containerd (bench/main.ts).
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
sh "$root/scripts/install.sh" bench
cd "$root"
exec sh scripts/node.sh --disable-warning=ExperimentalWarning bench/main.ts "$@"
