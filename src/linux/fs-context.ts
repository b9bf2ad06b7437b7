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
const MOUNT_ATTR_RDONLY = 0x1n;
const MOUNT_ATTR_IDMAP = 0x100000n;
const AT_RECURSIVE = 0x8000;

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
  moveMount(cloneIdMapped(source, userNamespace), target);
}

/** The error with which the kernel refuses to map the ids of what lies at `source`; undefined: it can. May block on its file system. */
export function idMapLack(source: string, userNamespace: number): unknown {
  try {
    closeSync(cloneIdMapped(source, userNamespace));
    return undefined;
  } catch (error) {
    return error;
  }
}

/** A detached mount; the caller owns its descriptor. */
function cloneIdMapped(source: string, userNamespace: number): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  const tree = answered(syscallFn(OPEN_TREE, 'int', AT.FDCWD, 'const char *', source, 'uint', flags), 'open_tree', source);
  try {
    setAttributes(tree, [MOUNT_ATTR_IDMAP, 0n, BigInt(MS.PRIVATE), BigInt(userNamespace)], 0, source);
    return tree;
  } catch (error) {
    closeSync(tree);
    throw error;
  }
}

/** The error with which this kernel refuses to make a mount and all below it read-only (Linux ≥ 5.12 does it); undefined: it can. */
export function recursiveAttributesLack(): unknown {
  try {
    using context = new OwnedFd(answered(syscallFn(FSOPEN, 'const char *', 'tmpfs', 'uint', CLOEXEC), 'fsopen', 'tmpfs'));
    fsconfig(context.fd, FSCONFIG_CMD_CREATE, null, null);
    // Attached nowhere: it is gone with its descriptor.
    using detached = new OwnedFd(answered(syscallFn(FSMOUNT, 'int', context.fd, 'uint', CLOEXEC, 'uint', 0), 'fsmount', 'tmpfs'));
    setAttributes(detached.fd, [MOUNT_ATTR_RDONLY, 0n, 0n, 0n], AT_RECURSIVE, 'tmpfs');
    return undefined;
  } catch (error) {
    return error;
  }
}

/** mount_setattr(2) of the mount itself. struct mount_attr: attributes to set, to clear, propagation, user namespace. */
function setAttributes(fd: number, attributes: readonly [bigint, bigint, bigint, bigint], flags: number, on: string): void {
  const struct = new BigUint64Array(attributes);
  const all = AT.EMPTY_PATH | flags;
  const size = struct.byteLength;
  answered(syscallFn(MOUNT_SETATTR, 'int', fd, 'const char *', '', 'uint', all, 'void *', struct, 'size_t', size), 'mount_setattr', on);
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
