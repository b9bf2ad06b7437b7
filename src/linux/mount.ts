import { readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { libc, lastError } from './libc.ts';

const mountFn = libc.func('int mount(const char *, const char *, const char *, unsigned long, const char *)');
const umount2Fn = libc.func('int umount2(const char *, int)');

/** Flags of mount(2). */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  REMOUNT: 32,
  MANDLOCK: 64,
  DIRSYNC: 128,
  NOSYMFOLLOW: 256,
  NOATIME: 1024,
  NODIRATIME: 2048,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
} as const;

/** mount(2). Fails with the errno's name as `code`. May block on the file system's own I/O. */
export function mount(source: string, target: string, type: string, flags: number, data = ''): void {
  if (mountFn(source, target, type, flags, data) !== 0) throw lastError('mount', `${source} on ${target}`);
}

/** umount2(2) with MNT_DETACH: the mount leaves the tree at once. EINVAL means "not a mount point". */
export function unmountLazily(target: string): void {
  if (umount2Fn(target, 2) !== 0) throw lastError('unmount', target);
}

/** As `unmountLazily`; "not mounted" and "no such file" are success. Answers whether something was unmounted. */
export function unmountIfMounted(target: string): boolean {
  try {
    unmountLazily(target);
    return true;
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === 'EINVAL' || code === 'ENOENT') return false;
    throw error;
  }
}

/** Unmounts all that is stacked on a path, so that what lies below can be removed. */
export function unmountAll(target: string): void {
  while (unmountIfMounted(target));
}

export interface MountInfo {
  readonly id: number;
  readonly parent: number;
  readonly device: string;
  /** The path inside the mounted file system. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  /** `shared:N`, `master:N`, … */
  readonly optional: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: string;
}

export async function readMounts(pid: number | 'self' = 'self'): Promise<MountInfo[]> {
  return parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, 'utf8'));
}

export function readMountsSync(): MountInfo[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** proc(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue` */
export function parseMountInfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ');
    const a = before?.split(' ') ?? [];
    const b = after?.split(' ') ?? [];
    if (a.length < 6 || b.length < 2) continue;
    mounts.push({
      id: Number(a[0]),
      parent: Number(a[1]),
      device: a[2] ?? '',
      root: unescapeOctal(a[3] ?? ''),
      mountPoint: unescapeOctal(a[4] ?? ''),
      options: (a[5] ?? '').split(','),
      optional: a.slice(6),
      type: b[0] ?? '',
      source: unescapeOctal(b[1] ?? ''),
      superOptions: b[2] ?? '',
    });
  }
  return mounts;
}

function unescapeOctal(text: string): string {
  return text.includes('\\') ? text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))) : text;
}
