import { spawn, type ChildProcess } from 'node:child_process';
import { Failure } from '../errors/index.ts';

export interface RunOptions {
  readonly cwd?: string;
  /** The child's whole environment; default: nothing but PATH. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
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
 * Runs a helper to its end and answers its exit code and output; arguments are never joined to a string.
 * Fails with DeadlineExceeded after `timeoutMs`, with the signal's reason when it fires (both only after the
 * child's group was killed and reaped), with FailedPrecondition when the program cannot be started.
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  options.signal?.throwIfAborted();
  const [program, ...args] = argv;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...(options.env ?? { PATH: process.env['PATH'] ?? '' }) },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
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

function finish(child: ChildProcess, argv: readonly string[], options: RunOptions): Promise<RunResult> {
  const { promise, resolve, reject } = Promise.withResolvers<RunResult>();
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let outBytes = 0;
  let errBytes = 0;
  let ended: unknown;
  const end = (reason: unknown) => {
    ended ??= { reason };
    killGroup(child);
  };
  const onAbort = () => end(options.signal?.reason);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    end(new Failure('DeadlineExceeded', `\`${argv.join(' ')}\` did not end within ${options.timeoutMs} ms and was killed`));
  }, options.timeoutMs);
  child.stdout?.on('data', (chunk: Buffer) => {
    outBytes += chunk.length;
    if (outBytes > (options.maxOutput ?? 64 * 1024 * 1024))
      end(new Failure('ResourceExhausted', `\`${argv.join(' ')}\` printed more than allowed and was killed`));
    else stdout.push(chunk);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr.push(chunk);
    errBytes += chunk.length;
    while (stderr.length > 1 && errBytes - (stderr[0]?.length ?? 0) >= STDERR_KEPT) errBytes -= stderr.shift()?.length ?? 0;
  });
  child.stdin?.on('error', () => {}); // A child that does not read its input is judged by its exit code.
  child.stdin?.end(options.stdin ?? '');
  const settle = () => {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
  };
  child.once('error', (error: NodeJS.ErrnoException) => {
    settle();
    reject(
      new Failure('FailedPrecondition', `cannot run ${argv[0]}: ${error.code ?? error.message}`, {
        cause: error,
        ...(error.code === undefined ? {} : { code: error.code }),
        advice: `Check that ${argv[0]} is installed and executable.`,
      }),
    );
  });
  child.once('close', (code, signal) => {
    settle();
    if (ended !== undefined) reject((ended as { reason: unknown }).reason);
    else resolve({ code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8').slice(-STDERR_KEPT) });
  });
  return promise;
}

/** The child leads its own group (`detached`), so grandchildren that stayed in it die with it. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
