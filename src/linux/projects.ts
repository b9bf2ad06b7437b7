import { closeSync, constants, openSync } from 'node:fs';
import { codeOf } from '../errors/index.ts';
import { libc, lastError } from './libc.ts';

/**
 * Projects of a file system: trees whose space is counted, and limited, as one. Directories are opened for the call; each
 * call may block on the file system's own I/O.
 */
const ioctlFn = libc.func('int ioctl(int, unsigned long, _Inout_ void *)');
const syscallFn = libc.func('long syscall(long, ...)');

/** The same on every architecture. */
const QUOTACTL_FD = 443;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
/** QCMD(Q_XGETQUOTA, PRJQUOTA), QCMD(Q_XSETQLIM, PRJQUOTA) */
const [GET_PROJECT_LIMITS, SET_PROJECT_LIMITS] = [0x580302, 0x580402];

/** struct fsxattr: flags at 0, project at 12. */
const FSXATTR_BYTES = 28;
const [FLAGS_AT, PROJECT_AT] = [0, 12];
const FS_XFLAG_PROJINHERIT = 0x200;

/** struct fs_disk_quota. */
const DISK_QUOTA_BYTES = 112;
const FS_DQUOT_VERSION = 1;
const FS_PROJ_QUOTA = 2;
/** Soft and hard limits of inodes and blocks. */
const FS_DQ_LIMITS = 0xf;
const BLOCK = 512n;

/** Of one project; 0 limits nothing. Bytes are rounded up to blocks of 512. */
export interface ProjectLimits {
  readonly bytes: bigint;
  readonly inodes: bigint;
}

/** The project of a directory, 0 for none. Fails with ENOTTY or EOPNOTSUPP where the file system has none. */
export function projectOf(directory: string): number {
  return withDirectory(directory, (fd) => attributesOf(fd, directory).readUInt32LE(PROJECT_AT));
}

/** Gives a directory to a project, and with it whatever will be made in it; not what is in it already. */
export function setProject(directory: string, project: number): void {
  change(directory, (attributes) => {
    attributes.writeUInt32LE(project, PROJECT_AT);
    attributes.writeUInt32LE((attributes.readUInt32LE(FLAGS_AT) | FS_XFLAG_PROJINHERIT) >>> 0, FLAGS_AT);
  });
}

/** What will be made in a directory belongs to no project by itself. */
export function stopInheritingProject(directory: string): void {
  change(directory, (attributes) => attributes.writeUInt32LE((attributes.readUInt32LE(FLAGS_AT) & ~FS_XFLAG_PROJINHERIT) >>> 0, FLAGS_AT));
}

/**
 * Limits a project of the file system of `directory` (quotactl_fd(2), Linux 5.14). Fails with ENOSYS or ESRCH where it counts no
 * projects: XFS does when mounted with `prjquota`.
 */
export function limitProject(directory: string, project: number, { bytes, inodes }: ProjectLimits): void {
  const quota = Buffer.alloc(DISK_QUOTA_BYTES);
  quota.writeInt8(FS_DQUOT_VERSION, 0);
  quota.writeInt8(FS_PROJ_QUOTA, 1);
  quota.writeUInt16LE(FS_DQ_LIMITS, 2);
  quota.writeUInt32LE(project, 4);
  for (const at of [8, 16]) quota.writeBigUInt64LE((bytes + BLOCK - 1n) / BLOCK, at);
  for (const at of [24, 32]) quota.writeBigUInt64LE(inodes, at);
  quotactl(directory, SET_PROJECT_LIMITS, project, quota);
}

/** Changes nothing, and fails as `limitProject` would. */
export function checkProjects(directory: string, project: number): void {
  try {
    quotactl(directory, GET_PROJECT_LIMITS, project, Buffer.alloc(DISK_QUOTA_BYTES));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error; // Nothing has been counted for it so far.
  }
}

function quotactl(directory: string, command: number, project: number, quota: Buffer): void {
  withDirectory(directory, (fd) => {
    if (Number(syscallFn(QUOTACTL_FD, 'uint', fd, 'uint', command, 'uint', project, 'void *', quota)) !== 0)
      throw lastError('quotactl', directory);
  });
}

function change(directory: string, how: (attributes: Buffer) => unknown): void {
  withDirectory(directory, (fd) => {
    const attributes = attributesOf(fd, directory);
    const before = Buffer.from(attributes);
    how(attributes);
    if (!before.equals(attributes) && ioctlFn(fd, FS_IOC_FSSETXATTR, attributes) !== 0) throw lastError('ioctl FSSETXATTR', directory);
  });
}

function attributesOf(fd: number, directory: string): Buffer {
  const attributes = Buffer.alloc(FSXATTR_BYTES);
  if (ioctlFn(fd, FS_IOC_FSGETXATTR, attributes) !== 0) throw lastError('ioctl FSGETXATTR', directory);
  return attributes;
}

function withDirectory<T>(directory: string, work: (fd: number) => T): T {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}
