import { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { type TerminalSize, openPty, setTerminalSize, streamOf } from '../linux/index.ts';
import { type Exit, exitOf, reader, signalGroup, startChild, startOnTerminal, writer } from './child.ts';

export interface LaunchOptions {
  /** The file to execute, where it is not what `argv[0]` names. */
  readonly program?: string;
  readonly cwd?: string;
  readonly env: Readonly<Record<string, string>>;
  /** How many stream socket pairs the child gets as fds 3, 4, …; ours are in `pipes`. */
  readonly pipes?: number;
  readonly stdin?: 'none' | 'pipe';
  /** Who may open the child's streams by name (/dev/stdin …); default: only root. */
  readonly owner?: { readonly uid: number; readonly gid: number };
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
  const child = startChild(argv, options.env, {
    program: options.program,
    cwd: options.cwd,
    stdin: options.stdin === 'pipe',
    sockets: options.pipes ?? 0,
    owner: options.owner,
  });
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

/** A child with a terminal of its own, which it may lose at any moment: `terminal` ends when the last process has closed it. */
export interface TerminalChild extends Pick<Child, 'pid' | 'exited' | 'kill'> {
  /** What the child prints, and what is typed; destroying it hangs the child up. */
  readonly terminal: Duplex;
  resize(size: TerminalSize): void;
}

/** Starts a child on a new terminal; fails as `launch` does. */
export function launchOnTerminal(argv: readonly [string, ...string[]], options: Pick<LaunchOptions, 'program' | 'env'>): TerminalChild {
  const { master, path } = openPty();
  using _ = master;
  const pid = startOnTerminal(argv, options, path);
  const fd = master.take();
  const terminal = streamOf(fd);
  terminal.on('error', () => terminal.destroy()); // EIO: the other side has gone.
  return {
    pid,
    terminal,
    resize: (size) => {
      if (!terminal.destroyed) setTerminalSize(fd, size);
    },
    exited: exitOf(pid),
    kill: (signal) => signalGroup(pid, signal),
  };
}
