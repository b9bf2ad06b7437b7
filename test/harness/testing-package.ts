import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from '../../src/process/index.ts';
import { debianMirror, proxyEnvironment } from './newer-debian.ts';
import { cacheDir } from './tools.ts';

const SUITE = 'testing';
const TIMEOUT_MS = 5 * 60_000;

/**
 * The directory into which a package of the next Debian was unpacked, once a machine into the tests' cache, by an apt with lists
 * of its own, so that the machine's packages stay as they are. `name` is what the cache calls it.
 */
export async function testingPackage(packageName: string, name: string): Promise<string> {
  const root = join(cacheDir, `${SUITE}-${name}`);
  if (existsSync(root)) return root;
  const apt = join(cacheDir, `${SUITE}-${name}-apt`);
  mkdirSync(join(apt, 'cache'), { recursive: true });
  writeFileSync(join(apt, 'sources.list'), `deb ${debianMirror()} ${SUITE} main\n`);
  const script = `set -eu
    root=$1 apt=$2 package=$3
    [ -d "$root" ] && exit
    cd "$apt"
    set -- -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$apt/lists" \\
      -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -qq
    mkdir -p lists/partial cache/archives/partial
    rm -rf "$root.building" ./*.deb
    apt-get "$@" update >&2
    apt-get "$@" download "$package" >&2
    dpkg-deb -x ./*.deb "$root.building"
    mv "$root.building" "$root"
    rm -rf "$apt"`;
  await runOk(['flock', `${root}.lock`, 'sh', '-c', script, 'sh', root, apt, packageName], {
    timeoutMs: TIMEOUT_MS,
    env: { PATH: process.env['PATH'] ?? '', ...proxyEnvironment() },
  });
  return root;
}
