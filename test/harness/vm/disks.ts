import { closeSync, ftruncateSync, globSync, cpSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from '../../../src/process/index.ts';
import { newerProgram } from '../newer-debian.ts';
import { projectRoot, toolPath } from '../tools.ts';

const TIMEOUT_MS = 60_000;
/** Disks of a saved machine keep the size that they had. */
const DISK_BYTES = 1024 ** 3;

/** An empty disk; what was never written takes no space. */
export function blankDisk(file: string): void {
  const fd = openSync(file, 'w');
  ftruncateSync(fd, DISK_BYTES);
  closeSync(fd);
}

/** A disk with an ext4 file system, and in it what a directory has. */
export async function ext4Disk(file: string, from?: string): Promise<void> {
  blankDisk(file);
  const contents = from === undefined ? [] : ['-d', from];
  await runOk(['mke2fs', '-q', '-F', '-t', 'ext4', ...contents, file], { timeoutMs: TIMEOUT_MS, env: { PATH: toolPath } });
}

/** A disk with an empty XFS file system. */
export async function xfsDisk(file: string): Promise<void> {
  const mkfs = await newerProgram('xfsprogs', 'xfsprogs', 'usr/sbin/mkfs.xfs');
  blankDisk(file);
  await runOk([...mkfs, '-q', file], { timeoutMs: TIMEOUT_MS, env: { PATH: toolPath } });
}

/** A disk with the daemon as bin/crio would run it in this checkout. */
export async function programDisk(file: string): Promise<void> {
  await runOk([join(projectRoot, 'bin/crio'), 'version'], { timeoutMs: TIMEOUT_MS, env: { PATH: toolPath } }); // It bundles what is newer.
  const tree = mkdtempSync(`${file}.`);
  const bundle = join(projectRoot, 'node_modules/.cache/crio');
  for (const path of globSync('*.mjs', { cwd: bundle })) cpSync(join(bundle, path), join(tree, path));
  const packages = join(projectRoot, 'node_modules');
  for (const path of ['koffi', ...globSync('@koromix/koffi-linux-*', { cwd: packages })]) {
    mkdirSync(join(tree, 'node_modules', path), { recursive: true });
    cpSync(join(packages, path), join(tree, 'node_modules', path), { recursive: true });
  }
  writeFileSync(join(tree, 'crio'), CRIO, { mode: 0o755 });
  await ext4Disk(file, tree);
  rmSync(tree, { recursive: true, force: true });
}

/** What bin/crio does. */
const CRIO = `#!/bin/sh
export MALLOC_ARENA_MAX=2
exec /opt/node --disable-sigusr1 --disable-warning=ExperimentalWarning --max-semi-space-size=4 /opt/crio/main.mjs "$@"
`;
