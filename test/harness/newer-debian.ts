import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, globSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from '../../src/process/index.ts';
import type { Machine } from './machine.ts';
import { cacheDir, projectRoot } from './tools.ts';

const SUITE = 'trixie';
/** podman ≥ 4.4 and its friends: Debian 12's are too old to share a live store (docs/reference/cri-o-ondisk.md §8). */
const PACKAGES = ['podman', 'skopeo', 'crun', 'runc', 'ca-certificates', 'fuse-overlayfs'] as const;
const BUILD_TIMEOUT_MS = 10 * 60_000;

/**
 * A root directory of a newer Debian with podman and skopeo, built once a machine into
 * `$CRIO_TEST_CACHE` (default /var/cache/crio-ts-test). Two callers at once build it once: the second waits.
 * The root is shared: never write into it, enter it by `newerDebianOn`.
 */
export async function newerDebianRoot(): Promise<string> {
  return await builtOnce('podman', 'apt', PACKAGES);
}

/** kubectl of the newer Debian, as the words that run it: Debian 12's is from before the WebSocket protocols. */
export async function newerKubectl(): Promise<readonly [string, ...string[]]> {
  return await newerProgram('kubectl', 'kubernetes-client', 'usr/bin/kubectl');
}

/** A program of the newer Debian, unpacked with what it needs, as the words that run it. */
export async function newerProgram(name: string, debianPackage: string, path: string): Promise<readonly [string, ...string[]]> {
  const root = await builtOnce(name, 'extract', [debianPackage, 'libc6']);
  const [libraries] = globSync(join(root, 'usr/lib/*-linux-gnu'));
  const [loader] = globSync(join(root, 'usr/lib/*-linux-gnu/ld-linux*'));
  assert.ok(libraries !== undefined && loader !== undefined, `no C library in ${root}`);
  return [loader, '--library-path', libraries, join(root, path)];
}

async function builtOnce(name: string, variant: 'apt' | 'extract', packages: readonly string[]): Promise<string> {
  mkdirSync(cacheDir, { recursive: true });
  const root = join(cacheDir, `${SUITE}-${name}`);
  if (existsSync(root)) return root;
  const lock = `${root}.lock`;
  const building = `${root}.building`;
  // flock(1) holds the lock while the script runs; the rename makes the finished root visible in one step.
  const script = 'root=$1 building=$2; shift 2; [ -d "$root" ] || { rm -rf "$building" && "$@" && mv "$building" "$root"; }';
  const bootstrap = ['mmdebstrap', `--variant=${variant}`, `--include=${packages.join(',')}`, SUITE, building, debianMirror()];
  await runOk(['flock', lock, 'sh', '-c', script, 'sh', root, building, ...bootstrap], {
    timeoutMs: BUILD_TIMEOUT_MS,
    env: { PATH: process.env['PATH'] ?? '', ...proxyEnvironment() },
  });
  return root;
}

/** The mirror this machine is configured with: the first URI of apt's sources that serves Debian itself. */
export function debianMirror(): string {
  const files = ['/etc/apt/sources.list', ...globSync('/etc/apt/sources.list.d/*')].filter((file) => existsSync(file));
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    const uri = /^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(\S+)/m.exec(text)?.[1];
    if (uri !== undefined && !uri.includes('security')) return uri;
  }
  throw new Error(`no Debian mirror in ${files.join(', ') || 'the sources of apt'}: a newer Debian cannot be made`);
}

export function proxyEnvironment(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    const value = process.env[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}

const NEWER_ROOT = '/run/newer/root';

export interface NewerDebian {
  /** Where a test finds its files. */
  readonly root: string;
  /** Puts the words that enter it before a command. */
  readonly enter: (argv: readonly string[]) => string[];
}

/**
 * Makes that root enterable on a machine: an overlay of it, with the machine's /proc, /sys, /dev and
 * /var/lib/containers, a run directory and this checkout. The store, podman and skopeo must all run in there: they share its
 * mounts, which the machine does not see. It is the root of a mount namespace and no chroot: whoever enters a container's
 * namespace, as `runc exec` does, lands at that namespace's own root, which a chroot leaves as it was.
 */
export async function newerDebianOn(machine: Machine): Promise<NewerDebian> {
  const lower = await newerDebianRoot();
  const script = `set -eu
    lower=$1 checkout=$2 root=$3
    mkdir -p /run/newer/upper /run/newer/work $root
    mount -t overlay -o "lowerdir=$lower,upperdir=/run/newer/upper,workdir=/run/newer/work" overlay $root
    for dir in proc sys dev; do mount --rbind /$dir $root/$dir; done
    mount -t tmpfs tmpfs $root/run
    mount -t tmpfs tmpfs $root/tmp
    for dir in /var/lib/containers "$checkout"; do mkdir -p "$root$dir"; mount --bind "$dir" "$root$dir"; done
    printf '{"default":[{"type":"insecureAcceptAnything"}]}' > $root/etc/containers/policy.json
    cd $root
    pivot_root . mnt
    umount -l /mnt
    echo ready
    exec cat > /dev/null`;
  // A process that stays, and the mount namespace with it; it ends with the machine.
  const keeper = machine.spawn(
    ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', lower, projectRoot, NEWER_ROOT],
    ['pipe', 'pipe', 'inherit'],
  );
  assert.ok(keeper.stdout);
  const said: readonly unknown[] = await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'exit')]);
  assert.ok(Buffer.isBuffer(said[0]), 'the newer Debian could not be entered');
  const pid = machine.pidOf(keeper);
  assert.ok(pid);
  const mounts = `--mount=/proc/${machine.pidInside(pid)}/ns/mnt`;
  return { root: `/proc/${pid}/root`, enter: (argv) => ['nsenter', mounts, '--', ...argv] };
}
