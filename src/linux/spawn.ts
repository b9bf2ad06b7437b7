import { fstatSync } from 'node:fs';
import { libc, lastError, syscallFailure } from './libc.ts';

const pipe2Fn = libc.func('int pipe2(void *, int)');
const closeFn = libc.func('int close(int)');
const spawnFn = libc.func('int posix_spawn(void *, const char *, void *, void *, const char **, const char **)');
const actionsInit = libc.func('int posix_spawn_file_actions_init(void *)');
const actionsDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *, int, int)');
const actionsOpen = libc.func('int posix_spawn_file_actions_addopen(void *, int, const char *, int, int)');
const fchownFn = libc.func('int fchown(int, int, int)');
const actionsChdir = libc.func('int posix_spawn_file_actions_addchdir_np(void *, const char *)');
const actionsDestroy = libc.func('int posix_spawn_file_actions_destroy(void *)');
const attrInit = libc.func('int posix_spawnattr_init(void *)');
const attrFlags = libc.func('int posix_spawnattr_setflags(void *, short)');
const attrMask = libc.func('int posix_spawnattr_setsigmask(void *, void *)');
const attrDefault = libc.func('int posix_spawnattr_setsigdefault(void *, void *)');
const socketpairFn = libc.func('int socketpair(int, int, int, void *)');
const openFn = libc.func('int open(const char *, int, int)');
const fcntlFn = libc.func('int fcntl(int, int, int)');
const waitpidFn = libc.func('int waitpid(int, void *, int)');

const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
const SETSIGDEF_SETSIGMASK_SETSID = 0x04 | 0x08 | 0x80;
const WNOHANG = 1;
const F_DUPFD_CLOEXEC = 1030;
/** Larger than glibc's opaque structures: posix_spawn_file_actions_t (80), posix_spawnattr_t (336), sigset_t (128). */
const OPAQUE = 512;
const SIGSET = 128;

/** A child's side is gone from this process; these are our ends of its streams, owned by the caller. */
export interface SpawnedChild {
  readonly pid: number;
  /** To be written; undefined where the child reads /dev/null. */
  readonly stdin: number | undefined;
  readonly stdout: number;
  readonly stderr: number;
  /** Our ends of stream socket pairs; the child's are 3, 4, … */
  readonly sockets: readonly number[];
}

export interface SpawnOptions {
  readonly cwd?: string | undefined;
  /** Whether the child's input is a pipe of ours; else it is empty. */
  readonly stdin: boolean;
  readonly sockets: number;
  /** Who may open the child's streams by name (/dev/stdin …); default: only root. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/**
 * Starts `path` (no search) as the leader of a session of its own, with default signal dispositions and pipes as its
 * standard streams. glibc's posix_spawn shares the memory until the exec: 0.3 ms of CPU, where the fork of
 * libuv's spawn copies this process' page tables, 3 ms, and faults afterwards. The child must be waited for (`tryWait`).
 * Fails with the errno's name as `code`.
 */
export function spawnChild(path: string, argv: readonly string[], env: readonly string[], options: SpawnOptions): SpawnedChild {
  const fds: number[] = [];
  try {
    const [theirStdin, stdin] = options.stdin ? pipe(fds) : [openNull(fds), undefined];
    const [stdout, theirStdout] = pipe(fds);
    const [stderr, theirStderr] = pipe(fds);
    const pairs = Array.from({ length: options.sockets }, () => socketPair(fds));
    const theirs = [theirStdin, theirStdout, theirStderr, ...pairs.map(([, their]) => their)];
    const { owner } = options;
    if (owner !== undefined) for (const fd of theirs.slice(0, 3)) giveTo(fd, owner);
    const pid = spawn(path, argv, env, (actions) => {
      for (const [to, from] of theirs.entries()) actionsDup2(actions, from, to);
      if (options.cwd !== undefined) actionsChdir(actions, options.cwd);
    });
    for (const fd of theirs) closeFn(fd);
    return { pid, stdin, stdout, stderr, sockets: pairs.map(([ours]) => ours) };
  } catch (error) {
    for (const fd of fds) closeFn(fd);
    throw error;
  }
}

/** As `spawnChild`, with the terminal at `terminal` as the child's three streams and the controlling one of its session; answers the PID. */
export function spawnOnTerminal(path: string, argv: readonly string[], env: readonly string[], terminal: string): number {
  return spawn(path, argv, env, (actions) => {
    // The first terminal that a session's leader opens is its controlling one.
    actionsOpen(actions, 0, terminal, O_RDWR, 0);
    actionsDup2(actions, 0, 1);
    actionsDup2(actions, 0, 2);
  });
}

function spawn(path: string, argv: readonly string[], env: readonly string[], act: (actions: Buffer) => void): number {
  const actions = Buffer.alloc(OPAQUE);
  const attributes = Buffer.alloc(OPAQUE);
  actionsInit(actions);
  attrInit(attributes);
  try {
    act(actions);
    attrFlags(attributes, SETSIGDEF_SETSIGMASK_SETSID);
    attrMask(attributes, Buffer.alloc(SIGSET));
    attrDefault(attributes, Buffer.alloc(SIGSET, 0xff));
    const pid = Buffer.alloc(4);
    const error = Number(spawnFn(pid, path, actions, attributes, [...argv, null], [...env, null]));
    if (error !== 0) throw syscallFailure('posix_spawn', path, error);
    return pid.readInt32LE(0);
  } finally {
    actionsDestroy(actions);
  }
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: number | null;
}

/** How a child ended, once: waitpid(2) takes it away. Undefined while it runs; never blocks. */
export function tryWait(pid: number): ChildExit | undefined {
  const status = Buffer.alloc(4);
  const waited = Number(waitpidFn(pid, status, WNOHANG));
  if (waited === 0) return undefined;
  if (waited !== pid) throw lastError('waitpid', String(pid));
  const word = status.readInt32LE(0);
  const signal = word & 0x7f;
  return signal === 0 ? { code: (word >> 8) & 0xff, signal: null } : { code: null, signal };
}

/** Below these numbers a child's own descriptors are put: one of ours there would be overwritten before its turn. */
const CHILD_FDS = 16;

function openNull(opened: number[]): number {
  const fd = Number(openFn('/dev/null', O_CLOEXEC, 0));
  if (fd < 0) throw lastError('open', '/dev/null');
  opened.push(fd);
  return above(fd, opened);
}

/** [ours, the child's] */
function socketPair(opened: number[]): readonly [ours: number, theirs: number] {
  const pair = Buffer.alloc(8);
  if (Number(socketpairFn(1 /* AF_UNIX */, 1 | O_CLOEXEC /* SOCK_STREAM */, 0, pair)) !== 0) throw lastError('socketpair', 'a child');
  const [ours, theirs] = [pair.readInt32LE(0), pair.readInt32LE(4)];
  opened.push(ours, theirs);
  return [ours, above(theirs, opened)];
}

/** The same file under a number that no child's descriptor has. */
function above(fd: number, opened: number[]): number {
  if (fd >= CHILD_FDS) return fd;
  const moved = Number(fcntlFn(fd, F_DUPFD_CLOEXEC, CHILD_FDS));
  if (moved < 0) throw lastError('fcntl', 'F_DUPFD_CLOEXEC');
  closeFn(fd);
  opened.splice(opened.indexOf(fd), 1, moved);
  return moved;
}

/** /dev/null stays whose it is. */
function giveTo(fd: number, { uid, gid }: { readonly uid: number; readonly gid: number }): void {
  if (fstatSync(fd).isFIFO() && Number(fchownFn(fd, uid, gid)) !== 0) throw lastError('fchown', 'a pipe');
}

function pipe(opened: number[]): readonly [read: number, write: number] {
  const pair = Buffer.alloc(8);
  if (Number(pipe2Fn(pair, O_CLOEXEC)) !== 0) throw lastError('pipe2', 'a child');
  const [read, write] = [pair.readInt32LE(0), pair.readInt32LE(4)];
  opened.push(read, write);
  return [above(read, opened), above(write, opened)];
}
