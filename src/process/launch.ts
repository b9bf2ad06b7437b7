import { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { type Exit, exitOf, reader, signalGroup, startChild, writer } from './child.ts';

export interface LaunchOptions {
  readonly cwd?: string;
  readonly env: Readonly<Record<string, string>>;
  /** How many stream socket pairs the child gets as fds 3, 4, …; ours are in `pipes`. */
  readonly pipes?: number;
  readonly stdin?: 'none' | 'pipe';
}

/** A child process that is more than a question and an answer: it leads its own process group. */
export interface Child {
  readonly pid: number;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly pipes: readonly Duplex[];
  /** Settles when the process has ended, which may be before its output streams close. */
  readonly exited: Promise<Exit>;
  /** Signals the whole group; false when it has gone. */
  kill(signal: NodeJS.Signals): boolean;
}

/** Starts a child; fails with FailedPrecondition when the program cannot be started. */
export function launch(argv: readonly [string, ...string[]], options: LaunchOptions): Child {
  const child = startChild(argv, options.env, { cwd: options.cwd, stdin: options.stdin === 'pipe', sockets: options.pipes ?? 0 });
  const pipes = child.sockets.map((fd) => new Socket({ fd }));
  for (const pipe of pipes) pipe.on('error', () => {}); // A peer that has gone shows as end of stream.
  return {
    pid: child.pid,
    stdin: writer(child.stdin),
    stdout: reader(child.stdout),
    stderr: reader(child.stderr),
    pipes,
    exited: exitOf(child.pid),
    kill: (signal) => signalGroup(child.pid, signal),
  };
}
