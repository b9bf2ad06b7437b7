#!/bin/sh
# npm test [-- part of a path…]: the checks, then every test. Brings what is missing first; needs root.
set -eu
root=$(dirname "$(dirname "$(readlink -f "$0")")")
sh "$root/scripts/install.sh" test
cd "$root"
exec sh scripts/node.sh --disable-warning=ExperimentalWarning test/harness/run.ts "$@"
