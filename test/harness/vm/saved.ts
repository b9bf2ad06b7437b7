// A virtual machine that has booted and waits for its word, made once a machine: `node saved.ts DIR` makes it, `savedMachine` sees to it.
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from '../../../src/process/index.ts';
import { cacheDir, projectRoot, toolPath } from '../tools.ts';
import { blankDisk } from './disks.ts';
import { type Kernel, debianKernel, initialRamDisk } from './kernel.ts';
import { type Hardware, Qemu } from './qemu.ts';
import { hostFiles, rootImage } from './root.ts';

const MAKE_TIMEOUT_MS = 5 * 60_000;
const UNUSED_AFTER_MS = 24 * 60 * 60_000;
/** What the agent says when it waits for its word. */
const READY = 'ready';

/** What belongs to a saved machine, but for the disks that are a test's own. */
export interface SavedMachine extends Pick<Hardware, 'kernel' | 'initrd' | 'root'> {
  /** Its memory. */
  readonly saved: string;
}

/**
 * A machine as it is when it has just booted, to be resumed instead of booted: an emulated processor needs 10 s and more for a boot.
 * It has never looked at the disks that a test brings. Two callers at once make it once.
 */
export async function savedMachine(): Promise<SavedMachine> {
  const kernel = await debianKernel();
  const dir = join(cacheDir, `vm-${versionOf(kernel)}`);
  const parts = partsIn(dir, kernel);
  if (!existsSync(parts.saved)) {
    const make = ['sh', join(projectRoot, 'scripts/node.sh'), '--disable-warning=ExperimentalWarning', import.meta.filename, dir];
    await runOk(['flock', join(cacheDir, 'vm.lock'), ...make], { timeoutMs: MAKE_TIMEOUT_MS, env: environment() });
  }
  const now = new Date();
  utimesSync(parts.saved, now, now);
  return parts;
}

function partsIn(dir: string, kernel: Kernel): SavedMachine {
  return { kernel: kernel.image, initrd: join(dir, 'initrd'), root: join(dir, 'root.img'), saved: join(dir, 'memory') };
}

/** Another one for other sources, programs, or another kernel. */
function versionOf(kernel: Kernel): string {
  const hash = createHash('sha256').update(kernel.release);
  for (const file of globSync(join(import.meta.dirname, '*')).toSorted()) hash.update(readFileSync(file));
  for (const file of hostFiles()) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex').slice(0, 16);
}

/** Others may test other sources here. */
function isUnused(dir: string): boolean {
  const used = statSync(join(dir, 'memory'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return Date.now() - used > UNUSED_AFTER_MS;
}

function environment(): Record<string, string> {
  return { PATH: toolPath, ...(process.env['CRIO_TEST_CACHE'] === undefined ? {} : { CRIO_TEST_CACHE: cacheDir }) };
}

async function make(dir: string): Promise<void> {
  const kernel = await debianKernel();
  const parts = partsIn(dir, kernel);
  if (existsSync(parts.saved)) return; // Somebody was faster.
  for (const old of globSync(join(cacheDir, 'vm-*'))) if (isUnused(old)) rmSync(old, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  await Promise.all([initialRamDisk(kernel, parts.initrd), rootImage(kernel, parts.root)]);
  const [program, data, console] = ['program.img', 'data.img', 'console.log'].map((name) => join(dir, name)) as [string, string, string];
  blankDisk(program);
  blankDisk(data);
  const qemu = await Qemu.start({ ...parts, program, data }, { console });
  try {
    await qemu.says(READY);
    await qemu.save(`${parts.saved}.new`);
  } finally {
    await qemu.kill();
  }
  renameSync(`${parts.saved}.new`, parts.saved);
}

if (import.meta.main) await make(process.argv[2] ?? '');
