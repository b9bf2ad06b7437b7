import { accessSync, constants } from 'node:fs';
import { Socket } from 'node:net';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import { type SpawnOptions, type SpawnedChild, spawnChild, spawnOnTerminal, tryWait } from '../linux/index.ts';
import { helperStarted } from '../steps/index.ts';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The file to execute, where it is not what `argv[0]` names; errors speak of `argv[0]`. */
interface Executed {
  readonly program?: string | undefined;
}

/** Starts a program with exactly that environment; fails with FailedPrecondition when it cannot be started. */
export function startChild(
  argv: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  options: SpawnOptions & Executed,
): SpawnedChild {
  const child = starting(argv, env, options, (path, variables) => spawnChild(path, argv, variables, options));
  helperStarted(child.pid);
  return child;
}

/** As `startChild`, with that terminal as the child's streams and its session's own; answers the PID. */
export function startOnTerminal(
  argv: readonly [string, ...string[]],
  options: Executed & { readonly env: Readonly<Record<string, string>> },
  terminal: string,
): number {
  const pid = starting(argv, options.env, options, (path, variables) => spawnOnTerminal(path, argv, variables, terminal));
  helperStarted(pid);
  return pid;
}

function starting<T>(
  argv: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  { program, cwd = '' }: Executed & Pick<SpawnOptions, 'cwd'>,
  spawn: (path: string, variables: readonly string[]) => T,
): T {
  const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  if ([...argv, ...variables, cwd].some((text) => text.includes('\0')))
    throw new Failure('InvalidArgument', `cannot run ${JSON.stringify(argv[0])}: an argument contains a NUL byte`);
  try {
    return spawn(program ?? programPath(argv[0], env['PATH'] ?? ''), variables);
  } catch (error) {
    const code = codeOf(error);
    throw new Failure('FailedPrecondition', `cannot run ${argv[0]}: ${code ?? textOf(error)}`, {
      cause: error,
      ...(code === undefined ? {} : { code }),
      advice: `Check that ${argv[0]} is installed and executable.`,
    });
  }
}

/** Settles when the child has ended; SIGCHLD tells when to look, no thread waits. */
export async function exitOf(pid: number): Promise<Exit> {
  const { promise, resolve, reject } = Promise.withResolvers<Exit>();
  const look = () => {
    try {
      const exit = tryWait(pid);
      if (exit !== undefined) resolve({ code: exit.code, signal: exit.signal === null ? null : signalName(exit.signal) });
    } catch (error) {
      reject(error);
    }
  };
  // One listener per child under way; the default limit of ten warns of leaks where there are none.
  process.setMaxListeners(Math.max(process.getMaxListeners(), process.listenerCount('SIGCHLD') + 10));
  process.on('SIGCHLD', look);
  look(); // It may have ended before we listened.
  const awake = setInterval(() => {}, LONGEST_TIMER_MS); // A listener for signals alone lets a process end that has nothing else to do.
  try {
    return await promise;
  } finally {
    clearInterval(awake);
    process.off('SIGCHLD', look);
  }
}

/** Our end of a stream that the child writes; closes its descriptor when the stream has ended. */
export function reader(fd: number, onData?: (chunk: Buffer) => void): Socket {
  const stream = new Socket({ fd, readable: true, writable: false });
  if (onData !== undefined) stream.on('data', onData);
  stream.on('error', () => stream.destroy());
  return stream;
}

/** Our end of the child's input, if it has one. A child that does not read it is judged by its exit code. */
export function writer(fd: number | undefined): Socket | undefined {
  if (fd === undefined) return undefined;
  const stream = new Socket({ fd, readable: false, writable: true });
  stream.on('error', () => {});
  return stream;
}

/** Signals a child's whole group; false when it has gone. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** The first executable of that name in PATH; a name with a slash is a path. */
function programPath(program: string, path: string): string {
  if (program.includes('/')) return program;
  for (const dir of path.split(':')) {
    const candidate = join(dir === '' ? '.' : dir, program);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      continue;
    }
  }
  throw new Failure('NotFound', `${program} is not in PATH`, { code: 'ENOENT' });
}

function signalName(number: number): NodeJS.Signals {
  const found = Object.entries(system.signals).find(([, value]) => value === number);
  return (found?.[0] ?? 'SIGKILL') as NodeJS.Signals;
}
