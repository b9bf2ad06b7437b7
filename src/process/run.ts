import type { Socket } from 'node:net';
import { Failure } from '../errors/index.ts';
import type { SpawnedChild } from '../linux/index.ts';
import { exitOf, reader, signalGroup, startChild, writer } from './child.ts';

export interface RunOptions {
  /** The file to execute, where it is not what `argv[0]` names. */
  readonly program?: string;
  readonly cwd?: string;
  /** The child's whole environment; default: nothing but PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** A promise: the child runs already and waits for its input. If it is rejected, the child's group is ended as by `signal`. */
  readonly stdin?: string | Uint8Array | Promise<string>;
  /** Ends the child's process group; the returned promise settles after it is gone. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which the child's process group is killed. Every helper has one. */
  readonly timeoutMs: number;
  /** Bytes kept of stdout; more is an error. Default 64 MiB. */
  readonly maxOutput?: number;
}

export interface RunResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  /** The last 64 KiB. */
  readonly stderr: string;
}

const STDERR_KEPT = 64 * 1024;

/**
 * Runs a helper to its end and answers its exit code and output; arguments are never joined to a string. It leads a
 * session of its own: what it starts and leaves behind is found by its group.
 * Fails with DeadlineExceeded after `timeoutMs`, with the signal's reason when it fires (both only after the
 * child's group was killed and reaped), with FailedPrecondition when the program cannot be started.
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  options.signal?.throwIfAborted();
  const child = startChild(argv, options.env ?? { PATH: process.env['PATH'] ?? '' }, {
    program: options.program,
    cwd: options.cwd,
    stdin: true,
    sockets: 0,
  });
  return await finish(child, argv, options);
}

/** As `run`, but a non-zero exit is a Failure `<program> <args> failed: <stderr>: exit status N`. */
export async function runOk(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  const result = await run(argv, options);
  if (result.code !== 0) throw exitFailure(argv, result);
  return result;
}

export function exitFailure(argv: readonly string[], result: RunResult): Failure {
  const how = result.signal === null ? `exit status ${result.code}` : `killed by ${result.signal}`;
  return new Failure('Unknown', `\`${argv.join(' ')}\` failed: ${result.stderr.trim()}: ${how}`);
}

async function finish(child: SpawnedChild, argv: readonly string[], options: RunOptions): Promise<RunResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let outBytes = 0;
  let errBytes = 0;
  let ended: { readonly reason: unknown } | undefined;
  let gone = false;
  const end = (reason: unknown) => {
    if (gone) return;
    ended ??= { reason };
    killGroup(child.pid);
    for (const stream of streams) stream.destroy(); // Who left the group and holds our pipes is not waited for.
  };
  const onAbort = () => end(options.signal?.reason);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    end(new Failure('DeadlineExceeded', `\`${argv.join(' ')}\` did not end within ${options.timeoutMs} ms and was killed`));
  }, options.timeoutMs);
  const streams = [
    reader(child.stdout, (chunk) => {
      outBytes += chunk.length;
      if (outBytes > (options.maxOutput ?? 64 * 1024 * 1024))
        end(new Failure('ResourceExhausted', `\`${argv.join(' ')}\` printed more than allowed and was killed`));
      else stdout.push(chunk);
    }),
    reader(child.stderr, (chunk) => {
      stderr.push(chunk);
      errBytes += chunk.length;
      while (stderr.length > 1 && errBytes - (stderr[0]?.length ?? 0) >= STDERR_KEPT) errBytes -= stderr.shift()?.length ?? 0;
    }),
  ];
  const closed = Promise.all(streams.map(closing));
  const stdin = writer(child.stdin);
  if (options.stdin instanceof Promise) options.stdin.then((text) => stdin?.end(text), end);
  else stdin?.end(options.stdin ?? '');
  await closed;
  const exit = await exitOf(child.pid); // Only now: until it is waited for, its group's number is nobody else's.
  gone = true;
  stdin?.destroy();
  clearTimeout(timer);
  options.signal?.removeEventListener('abort', onAbort);
  if (ended !== undefined) throw ended.reason;
  return { ...exit, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8').slice(-STDERR_KEPT) };
}

function closing(stream: Socket): Promise<void> {
  return new Promise((resolve) => void stream.once('close', () => resolve()));
}

function killGroup(pid: number): void {
  signalGroup(pid, 'SIGKILL');
}
