import type { Readable } from 'node:stream';
import { Failure, textOf } from '../errors/index.ts';
import { killTree } from '../linux/index.ts';
import type { Child } from '../process/index.ts';
import type { Container } from './container.ts';
import { commandGroup, pidOf, refuseExec, signalCommand, userOutside, withExecFiles } from './exec-process.ts';

/** Bytes of both streams together that are kept [E13]. */
const OUTPUT_LIMIT = 16 * 1024 * 1024;

/** A timer of more milliseconds than 32 bits hold fires at once: three weeks are no limit. */
const LONGEST_TIMER_SECONDS = 2 ** 31 / 1000 - 1;
/** A killed command's runtime has ended by then, or cannot. */
const FROZEN_AFTER_MS = 2000;

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** 128+n for a signal; −1 when the time was up [E8]. */
  readonly exitCode: number;
}

/**
 * ExecSync [E1–E14]: runs a command in the container as its user with its environment, and answers its exit code and
 * output byte for byte. Seconds ≤ 0 mean no limit; when the time is up the whole process group is killed and the answer is
 * exit code −1 with stderr `command timed out`. The runtime is the command's parent: no monitor process, no log file between.
 */
export async function execSync(container: Container, command: readonly string[], timeoutSeconds: number): Promise<ExecResult> {
  refuseExec(container, command);
  if (container.beingKilled) throw commandError('cannot start exec: container is being killed');
  const terminal = false; // A terminal of its own for a single answer would only merge and rewrite the bytes.
  return await withExecFiles(container, command, terminal, async (files) => {
    const child = container.facts.runtime.exec(container.id, files, { owner: userOutside(container.facts.spec) });
    return await collect(child, files.pid, timeoutSeconds, container.facts.tty);
  });
}

async function collect(child: Child, pidFile: string, timeoutSeconds: number, merge: boolean): Promise<ExecResult> {
  let room = OUTPUT_LIMIT;
  const keep = (chunks: Buffer[]) => (chunk: Buffer) => {
    if (room > 0) chunks.push(chunk.subarray(0, room));
    room -= chunk.length;
  };
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = merge ? stdout : [];
  child.stdout.on('data', keep(stdout));
  child.stderr.on('data', keep(stderr));
  let killing: Promise<void> | undefined;
  const kill = () => {
    killing = killCommand(child, pidFile);
    killing.catch(() => {}); // Told to the caller below.
  };
  const limited = timeoutSeconds > 0 && timeoutSeconds <= LONGEST_TIMER_SECONDS;
  const timer = limited ? setTimeout(kill, timeoutSeconds * 1000) : undefined;
  const exit = await child.exited;
  clearTimeout(timer);
  if (killing !== undefined) {
    await killing;
    release(child);
    return { stdout: Buffer.alloc(0), stderr: Buffer.from('command timed out'), exitCode: -1 };
  }
  await Promise.all([drained(child.stdout), drained(child.stderr)]);
  release(child);
  if ((await pidOf(pidFile)) === undefined) throw commandError(Buffer.concat(stderr).toString('utf8').trim());
  return { stdout: Buffer.concat(stdout), stderr: merge ? Buffer.alloc(0) : Buffer.concat(stderr), exitCode: exit.code ?? -1 };
}

/**
 * The runtime waits for the command: with the command's group dead it ends by itself; and where a frozen container keeps the command
 * from dying, it is killed. Without a PID yet nobody knows how far it has come: what it has started goes with it, or would run on.
 */
async function killCommand(child: Child, pidFile: string): Promise<void> {
  const known = await pidOf(pidFile);
  if (known === undefined) killTree(child.pid);
  else signalCommand(commandGroup(known), 'SIGKILL');
  const timer = setTimeout(() => child.kill('SIGKILL'), FROZEN_AFTER_MS);
  await child.exited;
  clearTimeout(timer);
}

/**
 * What the command wrote is in the pipe once it has ended, but a process that it left behind may hold the pipe
 * open for ever: read until the stream ends or a turn of the event loop brought nothing.
 */
async function drained(stream: Readable): Promise<void> {
  let ended = stream.readableEnded || stream.destroyed;
  let seen = 0;
  stream.on('data', () => seen++);
  stream.once('close', () => (ended = true));
  stream.once('end', () => (ended = true));
  for (let quiet = 0, before = 0; !ended && quiet < 3; quiet = seen === before ? quiet + 1 : 0, before = seen) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function release(child: Child): void {
  child.stdout.destroy();
  child.stderr.destroy();
}

function commandError(message: string): Failure {
  return new Failure('Unknown', `command error: ${textOf(message)}, stdout: , stderr: , exit code -1`);
}
