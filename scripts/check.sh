#!/bin/sh
# npm run check: format, lint, types, import directions, unused exports. Runs all of them, then tells which failed.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
cd "$root" || exit 1
[ -d node_modules ] || sh scripts/install.sh run || exit 1
node() { sh scripts/node.sh --disable-warning=ExperimentalWarning "$@"; }
failed=''
check() {
  name=$1; shift
  "$@" || failed="$failed $name"
}
check format node node_modules/oxfmt/bin/oxfmt --check src test bench scripts
check lint node node_modules/oxlint/bin/oxlint src test bench scripts
check types node node_modules/typescript/bin/tsc -p .
check imports node scripts/check-imports.ts
check unused node node_modules/knip/bin/knip.js --no-progress
[ -z "$failed" ] || { echo "check: failed:$failed" >&2; exit 1; }
