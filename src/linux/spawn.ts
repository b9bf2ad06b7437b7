import { libc, lastError, syscallFailure } from './libc.ts';

const pipe2Fn = libc.func('int pipe2(void *, int)');
const closeFn = libc.func('int close(int)');
const spawnFn = libc.func('int posix_spawn(void *, const char *, void *, void *, const char **, const char **)');
const actionsInit = libc.func('int posix_spawn_file_actions_init(void *)');
const actionsDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *, int, int)');
const actionsChdir = libc.func('int posix_spawn_file_actions_addchdir_np(void *, const char *)');
const actionsDestroy = libc.func('int posix_spawn_file_actions_destroy(void *)');
const attrInit = libc.func('int posix_spawnattr_init(void *)');
const attrFlags = libc.func('int posix_spawnattr_setflags(void *, short)');
const attrMask = libc.func('int posix_spawnattr_setsigmask(void *, void *)');
const attrDefault = libc.func('int posix_spawnattr_setsigdefault(void *, void *)');
const waitpidFn = libc.func('int waitpid(int, void *, int)');

const O_CLOEXEC = 0o2000000;
const SETSIGDEF_SETSIGMASK_SETSID = 0x04 | 0x08 | 0x80;
const WNOHANG = 1;
/** Larger than glibc's opaque structures: posix_spawn_file_actions_t (80), posix_spawnattr_t (336), sigset_t (128). */
const OPAQUE = 512;
const SIGSET = 128;

/** A child's side is gone from this process; these are our ends of its three pipes, owned by the caller. */
export interface SpawnedChild {
  readonly pid: number;
  /** To be written. */
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;
}

/**
 * Starts `path` (no search) as the leader of a session of its own, with default signal dispositions and pipes as its
 * three standard streams. glibc's posix_spawn shares the memory until the exec: 0.3 ms of CPU, where the fork of
 * libuv's spawn copies this process' page tables, 3 ms, and faults afterwards. The child must be waited for (`waitFor`).
 * Fails with the errno's name as `code`.
 */
export function spawnChild(path: string, argv: readonly string[], env: readonly string[], cwd: string | undefined): SpawnedChild {
  const fds: number[] = [];
  const actions = Buffer.alloc(OPAQUE);
  const attributes = Buffer.alloc(OPAQUE);
  actionsInit(actions);
  attrInit(attributes);
  try {
    const [theirStdin, stdin] = pipe(fds);
    const [stdout, theirStdout] = pipe(fds);
    const [stderr, theirStderr] = pipe(fds);
    for (const [from, to] of [theirStdin, theirStdout, theirStderr].entries()) actionsDup2(actions, to, from);
    if (cwd !== undefined) actionsChdir(actions, cwd);
    attrFlags(attributes, SETSIGDEF_SETSIGMASK_SETSID);
    attrMask(attributes, Buffer.alloc(SIGSET));
    attrDefault(attributes, Buffer.alloc(SIGSET, 0xff));
    const pid = Buffer.alloc(4);
    const error = Number(spawnFn(pid, path, actions, attributes, [...argv, null], [...env, null]));
    if (error !== 0) throw syscallFailure('posix_spawn', path, error);
    for (const fd of [theirStdin, theirStdout, theirStderr]) closeFn(fd);
    return { pid: pid.readInt32LE(0), stdin, stdout, stderr };
  } catch (error) {
    for (const fd of fds) closeFn(fd);
    throw error;
  } finally {
    actionsDestroy(actions);
  }
}

/** How a child ended: waitpid(2)'s status, once. Waits on a thread of libuv's pool when it has not ended yet. */
export async function waitFor(pid: number): Promise<{ readonly code: number | null; readonly signal: number | null }> {
  const status = Buffer.alloc(4);
  let waited = Number(waitpidFn(pid, status, WNOHANG));
  if (waited === 0) {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    waitpidFn.async(pid, status, 0, (error: Error | null, answer: number) => (error === null ? resolve(answer) : reject(error)));
    waited = await promise;
  }
  if (waited !== pid) throw lastError('waitpid', String(pid));
  const word = status.readInt32LE(0);
  const signal = word & 0x7f;
  return signal === 0 ? { code: (word >> 8) & 0xff, signal: null } : { code: null, signal };
}

function pipe(opened: number[]): readonly [read: number, write: number] {
  const pair = Buffer.alloc(8);
  if (Number(pipe2Fn(pair, O_CLOEXEC)) !== 0) throw lastError('pipe2', 'a child');
  const [read, write] = [pair.readInt32LE(0), pair.readInt32LE(4)];
  opened.push(read, write);
  return [read, write];
}
