import { spawn } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';
import { Failure } from '../errors/index.ts';

export interface LaunchOptions {
  readonly cwd?: string;
  readonly env: Readonly<Record<string, string>>;
  /** How many stream socket pairs the child gets as fds 3, 4, …; ours are in `pipes`. */
  readonly pipes?: number;
  readonly stdin?: 'none' | 'pipe';
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process that is more than a question and an answer: it leads its own process group. */
export interface Child {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly pipes: readonly Duplex[];
  /** Settles when the process has ended, which may be before its output streams close. */
  readonly exited: Promise<Exit>;
  /** Signals the whole group; false when it has gone. */
  kill(signal: NodeJS.Signals): boolean;
}

/** Starts a child; fails with FailedPrecondition when the program cannot be started. */
export async function launch(argv: readonly [string, ...string[]], options: LaunchOptions): Promise<Child> {
  const [program, ...args] = argv;
  const stdin = options.stdin === 'pipe' ? 'pipe' : 'ignore';
  const extra = Array.from({ length: options.pipes ?? 0 }, () => 'pipe' as const);
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...options.env },
    stdio: [stdin, 'pipe', 'pipe', ...extra],
    detached: true,
  });
  const started = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<Exit>();
  child.once('spawn', () => started.resolve());
  child.once('error', (error: NodeJS.ErrnoException) => {
    started.reject(
      new Failure('FailedPrecondition', `cannot run ${program}: ${error.code ?? error.message}`, {
        cause: error,
        ...(error.code === undefined ? {} : { code: error.code }),
        advice: `Check that ${program} is installed and executable.`,
      }),
    );
  });
  child.once('exit', (code, signal) => exited.resolve({ code, signal }));
  const pipes = child.stdio.slice(3) as Duplex[]; // Node makes each 'pipe' beyond stderr a socket pair, ours a Duplex.
  for (const pipe of pipes) pipe.on('error', () => {}); // A peer that has gone shows as end of stream.
  await started.promise;
  const { pid, stdout, stderr } = child;
  if (pid === undefined || stdout === null || stderr === null) throw new Failure('Internal', `${program} started without a pid or pipes`);
  return { pid, stdin: child.stdin, stdout, stderr, pipes, exited: exited.promise, kill: (signal) => signalGroup(pid, signal) };
}

function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
