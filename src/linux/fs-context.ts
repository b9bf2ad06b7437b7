import { closeSync } from 'node:fs';
import { libc, lastError } from './libc.ts';
import { AT } from './files.ts';
import { OwnedFd } from './fd.ts';
import { MS } from './mount.ts';

/**
 * The mount calls that take one parameter at a time (fsopen(2) and friends), so that no list is bounded by a page.
 * Call numbers are the same on every architecture; none blocks beyond the file system's own I/O.
 */
const syscallFn = libc.func('long syscall(long, ...)');
const OPEN_TREE = 428;
const MOVE_MOUNT = 429;
const FSOPEN = 430;
const FSCONFIG = 431;
const FSMOUNT = 432;
const MOUNT_SETATTR = 442;

const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const CLOEXEC = 1;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOUNT_ATTR_IDMAP = 0x100000n;

/** MS_* flags as MOUNT_ATTR_*; the others are the file system's own words. */
const ATTRIBUTES: readonly (readonly [flag: number, attribute: number])[] = [
  [MS.RDONLY, 0x1],
  [MS.NOSUID, 0x2],
  [MS.NODEV, 0x4],
  [MS.NOEXEC, 0x8],
  [MS.NOATIME, 0x10],
  [MS.STRICTATIME, 0x20],
  [MS.NODIRATIME, 0x80],
];

function answered(result: unknown, call: string, on: string): number {
  const value = Number(result);
  if (value < 0) throw lastError(call, on);
  return value;
}

function fsconfig(fd: number, command: number, key: string | null, value: string | null): void {
  const on = key === null ? 'new mount' : value === null ? key : `${key}=${value}`;
  answered(syscallFn(FSCONFIG, 'int', fd, 'uint', command, 'const char *', key, 'const char *', value, 'int', 0), 'fsconfig', on);
}

/**
 * Mounts a new file system of `type` on `target`. `parameters` are set in order, bare words where the value is
 * undefined; a key may come more than once (overlay's `lowerdir+`, Linux ≥ 6.8). `flags` as for mount(2).
 */
export function mountByParameters(
  type: string,
  target: string,
  flags: number,
  parameters: Iterable<readonly [key: string, value: string | undefined]>,
): void {
  using context = new OwnedFd(answered(syscallFn(FSOPEN, 'const char *', type, 'uint', CLOEXEC), 'fsopen', type));
  fsconfig(context.fd, FSCONFIG_SET_STRING, 'source', type);
  for (const [key, value] of parameters)
    fsconfig(context.fd, value === undefined ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, value ?? null);
  if ((flags & MS.RDONLY) !== 0) fsconfig(context.fd, FSCONFIG_SET_FLAG, 'ro', null);
  fsconfig(context.fd, FSCONFIG_CMD_CREATE, null, null);
  let attributes = 0;
  for (const [flag, attribute] of ATTRIBUTES) if ((flags & flag) !== 0) attributes |= attribute;
  const mounted = answered(syscallFn(FSMOUNT, 'int', context.fd, 'uint', CLOEXEC, 'uint', attributes), 'fsmount', target);
  moveMount(mounted, target);
}

/** Clones the mount at `source` (not what is mounted below), maps its ids by a user namespace, attaches it privately at `target`. */
export function bindIdMapped(source: string, target: string, userNamespace: number): void {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  const tree = answered(syscallFn(OPEN_TREE, 'int', AT.FDCWD, 'const char *', source, 'uint', flags), 'open_tree', source);
  // struct mount_attr: attributes to set, to clear, propagation, user namespace.
  const attributes = new BigUint64Array([MOUNT_ATTR_IDMAP, 0n, BigInt(MS.PRIVATE), BigInt(userNamespace)]);
  const result: unknown = syscallFn(
    MOUNT_SETATTR,
    'int',
    tree,
    'const char *',
    '',
    'uint',
    AT.EMPTY_PATH,
    'void *',
    attributes,
    'size_t',
    attributes.byteLength,
  );
  try {
    answered(result, 'mount_setattr', source);
  } catch (error) {
    closeSync(tree);
    throw error;
  }
  moveMount(tree, target);
}

/** Attaches a detached mount and closes its descriptor. */
function moveMount(fd: number, target: string): void {
  using owned = new OwnedFd(fd);
  const flags = MOVE_MOUNT_F_EMPTY_PATH;
  answered(
    syscallFn(MOVE_MOUNT, 'int', owned.fd, 'const char *', '', 'int', AT.FDCWD, 'const char *', target, 'uint', flags),
    'move_mount',
    target,
  );
}
