import assert from 'node:assert/strict';
import { chmodSync, cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { runOk } from '../../../src/process/index.ts';
import { programsInto } from './programs.ts';
import { cacheDir, toolPath, unpackedTool } from '../tools.ts';

const TIMEOUT_MS = 60_000;
const env = { PATH: toolPath };
/** What the initial RAM disk loads; all else is loaded by modprobe when it is asked for. */
const FIRST = ['virtio_pci', 'virtio_blk', 'virtio_net', 'overlay'];
/** The parts of the kernel's modules that a node may ask for: the rest is drivers of what these machines do not have. */
const PARTS = [
  'crypto',
  'drivers/block',
  'drivers/net/*.ko',
  'drivers/net/ipvlan',
  'drivers/net/macvlan.ko',
  'drivers/virtio',
  'fs',
  'lib',
  'net',
];

export interface Kernel {
  /** `6.1.0-56-cloud-amd64` */
  readonly release: string;
  readonly image: string;
  /** A directory for /lib/modules/RELEASE. */
  readonly modules: string;
}

/** Debian's kernel for virtual machines, which scripts/install.sh unpacked, with an index of its modules. */
export async function debianKernel(): Promise<Kernel> {
  const image = globSync(unpackedTool('boot/vmlinuz-*')).toSorted().at(-1);
  assert.ok(image, 'no kernel for virtual machines: run scripts/install.sh test');
  const release = basename(image).slice('vmlinuz-'.length);
  const root = join(cacheDir, `modules-${release}`);
  const modules = join(root, 'lib/modules', release);
  // The last file that depmod writes is there when all are; the directory appears in one step.
  if (globSync(join(modules, 'modules.dep.bin')).length === 0) await indexModules(unpackedTool(`lib/modules/${release}`), release, root);
  return { release, image, modules };
}

async function indexModules(from: string, release: string, root: string): Promise<void> {
  const aside = mkdtempSync(`${root}.`);
  const target = join(aside, 'lib/modules', release);
  for (const part of [...PARTS.map((pattern) => `kernel/${pattern}`), 'modules.order', 'modules.builtin', 'modules.builtin.modinfo'])
    for (const path of globSync(part, { cwd: from })) cpSync(join(from, path), join(target, path), { recursive: true });
  await runOk(['depmod', '-b', aside, release], { timeoutMs: TIMEOUT_MS, env });
  rmSync(root, { recursive: true, force: true });
  renameSync(aside, root);
}

/** Makes the initial RAM disk: busybox, the modules of the disks, and init.sh. */
export async function initialRamDisk(kernel: Kernel, file: string): Promise<void> {
  const tree = mkdtempSync(`${file}.`);
  for (const name of ['bin', 'dev', 'lower', 'memory', 'modules', 'proc', 'root']) mkdirSync(join(tree, name), { recursive: true });
  await programsInto(tree, { '/bin/busybox': unpackedTool('bin/busybox') });
  for (const applet of ['insmod', 'ip', 'hostname', 'mkdir', 'mount', 'switch_root']) symlinkSync('busybox', join(tree, 'bin', applet));
  neededModules(kernel.modules).forEach((module, index) =>
    cpSync(join(kernel.modules, module), join(tree, 'modules', `${String(index).padStart(2, '0')}-${basename(module)}`)),
  );
  cpSync(join(import.meta.dirname, 'init.sh'), join(tree, 'init'));
  chmodSync(join(tree, 'init'), 0o755);
  await runOk(['bsdtar', '--format=newc', '--uid=0', '--gid=0', '-cf', file, '-C', tree, '.'], { timeoutMs: TIMEOUT_MS, env });
  rmSync(tree, { recursive: true, force: true });
}

/** Modules in the order in which they must be loaded. A line of modules.dep names first what needs all the others, and these likewise. */
function neededModules(modules: string): string[] {
  const lines = readFileSync(join(modules, 'modules.dep'), 'utf8').split('\n');
  const wanted = FIRST.flatMap((name) => {
    const line = lines.find((text) => text.split(':')[0]?.endsWith(`/${name}.ko`));
    assert.ok(line, `no module ${name}`);
    return line.replace(':', '').split(' ').toReversed();
  });
  return [...new Set(wanted)];
}
