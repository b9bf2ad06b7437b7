import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { runOk } from '../../../src/process/index.ts';
import { toolPath, unpackedTool } from '../tools.ts';
import type { Kernel } from './kernel.ts';
import { programsInto } from './programs.ts';

const TIMEOUT_MS = 120_000;
const env = { PATH: toolPath };

/** The host's programs that a node needs; for all else there is busybox. */
const NAMES = 'sh rm cp dd df stat sync find mount umount nsenter unshare ip nft ps kmod lsattr runc crun conmon'.split(' ');
/** Where Debian has them, or who is called by another name. */
const LINKS = {
  'usr/sbin/modprobe': '/usr/bin/kmod',
  'usr/sbin/runc': '/usr/bin/runc',
  'usr/bin/crio': '/opt/crio/crio',
  'usr/bin/tini': '/opt/tini',
} as const;
const DIRECTORIES = 'dev etc mnt opt/crio proc root run sys tmp usr/bin usr/lib usr/lib64 usr/sbin var/lib/containers var/log'.split(' ');

const ETC = {
  hostname: 'machine\n',
  hosts: '127.0.0.1 localhost\n',
  passwd: 'root:x:0:0:root:/root:/bin/sh\n',
  group: 'root:x:0:\n',
  'resolv.conf': 'nameserver 10.0.2.3\n',
} as const;

/** The host's files, by their path inside. */
function programs(): Record<string, string> {
  return {
    ...Object.fromEntries(NAMES.map((name) => [`usr/bin/${name}`, onPath(name)])),
    ...Object.fromEntries(globSync('/usr/lib/cni/*').map((path) => [path, path])),
    'usr/bin/busybox': unpackedTool('bin/busybox'),
    'opt/tini': unpackedTool('usr/bin/tini-static'),
    'opt/node': process.execPath,
  };
}

function onPath(name: string): string {
  const paths = toolPath.split(':').map((dir) => join(dir, name));
  return paths.find((path) => existsSync(path)) ?? paths[0] ?? name;
}

/** What a root file system is made from, beside the sources of this folder. */
export function hostFiles(): string[] {
  return Object.values(programs());
}

/**
 * Makes the image of a node's root file system from what the tests run on: this Node, the runtimes, CNI plugins and tools of the host's
 * packages with their libraries, busybox, and the kernel's modules.
 */
export async function rootImage(kernel: Kernel, file: string): Promise<void> {
  const tree = mkdtempSync(`${file}.`);
  for (const name of DIRECTORIES) mkdirSync(join(tree, name), { recursive: true });
  for (const name of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${name}`, join(tree, name));
  symlinkSync('/run', join(tree, 'var/run'));
  for (const [name, text] of Object.entries(ETC)) writeFileSync(join(tree, 'etc', name), text);
  await programsInto(tree, programs());
  for (const [link, target] of Object.entries(LINKS)) symlinkSync(target, join(tree, link));
  await busyboxApplets(tree);
  cpSync(kernel.modules, join(tree, 'usr/lib/modules', kernel.release), { recursive: true });
  const agent = readFileSync(join(import.meta.dirname, 'agent.ts'), 'utf8');
  writeFileSync(join(tree, 'opt/agent.mjs'), stripTypeScriptTypes(agent));
  await runOk(['mke2fs', '-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-d', tree, file, '600M'], { timeoutMs: TIMEOUT_MS, env });
  rmSync(tree, { recursive: true, force: true });
}

async function busyboxApplets(tree: string): Promise<void> {
  const applets = (await runOk([unpackedTool('bin/busybox'), '--list'], { timeoutMs: TIMEOUT_MS, env })).stdout.toString('utf8');
  const isTaken = (name: string) =>
    NAMES.includes(name) || name === 'busybox' || Object.keys(LINKS).some((path) => path.endsWith(`/${name}`));
  for (const applet of applets.trim().split('\n')) if (!isTaken(applet)) symlinkSync('busybox', join(tree, 'usr/bin', applet));
}
