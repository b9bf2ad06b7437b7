import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Failure, codeOf, textOf } from '../../errors/index.ts';
import { processStat } from '../../linux/index.ts';
import { launch } from '../../process/index.ts';
import { step } from '../../steps/index.ts';
import { type RuntimeHandler, runtimeEnvironment } from '../runtime/index.ts';

export interface MonitorSettings {
  readonly exitsDir: string;
  readonly attachSocketDir: string;
  readonly logLevel: string;
  /** Bytes; negative: no limit [K29]. */
  readonly logSizeMax: number;
  readonly logToJournald: boolean;
  readonly noPivot: boolean;
  readonly systemdCgroup: boolean;
  /** Puts a monitor where it belongs before it begins; fails if it cannot. */
  readonly place: (monitor: MonitorToPlace) => Promise<void>;
}

/** A monitor that has been started and waits. */
export interface MonitorToPlace {
  readonly pid: number;
  /** Of its container. */
  readonly id: string;
  readonly cgroupsPath: string;
  readonly monitorCgroup: string;
}

export interface MonitoredCreate {
  readonly id: string;
  readonly name: string;
  /** The runtime's binary, where the container's platform has one of its own [K19]. */
  readonly runtimePath?: string;
  /** `linux.cgroupsPath` of its spec. */
  readonly cgroupsPath: string;
  /** The run directory: bundle, pid files, attach socket. */
  readonly bundle: string;
  /** Where `exit` and `oom` are kept. */
  readonly persistDir: string;
  readonly logPath: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
}

/** A longer timer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

export interface MonitoredProcess {
  readonly init: ProcessIdentity;
  readonly monitor: ProcessIdentity;
}

/**
 * Creates a container under a conmon of its own [K28–K39] (docs/reference/cri-o-ondisk.md §6): start conmon, release it by a byte on
 * the start pipe, wait for its first process to fork off the monitor, read the init PID from the sync pipe.
 * On failure the caller must `runtime delete --force`.
 */
export async function createUnderMonitor(
  handler: RuntimeHandler,
  request: MonitoredCreate,
  settings: MonitorSettings,
): Promise<MonitoredProcess> {
  return await step('conmon and runtime create', () => create(handler, request, settings));
}

async function create(handler: RuntimeHandler, request: MonitoredCreate, settings: MonitorSettings): Promise<MonitoredProcess> {
  const env = { ...runtimeEnvironment(handler), _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4' };
  const conmon = launch([handler.monitorPath, ...monitorArguments(handler, request, settings)], {
    cwd: request.bundle,
    env,
    pipes: 2,
  });
  const [sync, start] = conmon.pipes;
  if (sync === undefined || start === undefined) throw new Failure('Internal', 'conmon was started without its pipes');
  const complaint = collect(conmon.stderr);
  conmon.stdout.resume();
  try {
    await settings.place({ pid: conmon.pid, id: request.id, cgroupsPath: request.cgroupsPath, monitorCgroup: handler.monitorCgroup });
    const line = firstLine(sync, Math.min(handler.createTimeout * 1000, LONGEST_TIMER_MS));
    line.catch(() => {});
    start.end(Buffer.of(0));
    // Its first process forks within milliseconds. If it does not, the time limit of the answer is its limit too.
    const exit = await Promise.race([conmon.exited, line.then(() => conmon.exited)]);
    if (exit.code !== 0) throw new Failure('Unknown', `conmon ended before it forked: ${complaint().trim() || describe(exit)}`);
    const init = parseReply(await line);
    const monitor = Number(await readFile(join(request.bundle, 'conmon-pidfile'), 'utf8'));
    return { init: identify(init, 'container'), monitor: identify(monitor, 'conmon') };
  } catch (error) {
    conmon.kill('SIGKILL');
    await endMonitor(request.bundle);
    throw error;
  } finally {
    sync.destroy();
    start.destroy();
    conmon.stdout.destroy();
    conmon.stderr.destroy();
  }
}

/**
 * Once it has forked, conmon is in a session of its own. It and the runtime that it waits for, which dies with it, would otherwise
 * finish making what is being taken away.
 */
async function endMonitor(bundle: string): Promise<void> {
  const text = await readFile(join(bundle, 'conmon-pidfile'), 'utf8').catch(() => '');
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid <= 1) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

/** The command line of [K28, K29], in CRI-O's order. */
export function monitorArguments(handler: RuntimeHandler, request: MonitoredCreate, settings: MonitorSettings): string[] {
  const args = ['-b', request.bundle, '-c', request.id, '--exit-dir', settings.exitsDir, '-l', request.logPath];
  args.push('--log-level', settings.logLevel, '-n', request.name, '-P', join(request.bundle, 'conmon-pidfile'));
  args.push('-p', join(request.bundle, 'pidfile'), '--persist-dir', request.persistDir, '-r');
  args.push(handler.programs.programFor(request.runtimePath ?? handler.path));
  args.push('--runtime-arg', `--root=${handler.root}`, '--socket-dir-path', settings.attachSocketDir, '--syslog', '-u', request.id);
  if (settings.systemdCgroup) args.push('-s');
  if (settings.logSizeMax >= 0) args.push('--log-size-max', String(settings.logSizeMax));
  if (handler.noSyncLog) args.push('--no-sync-log');
  if (settings.logToJournald) args.push('--log-path', 'journald:');
  if (settings.noPivot) args.push('--no-pivot');
  if (request.tty) args.push('-t');
  else if (request.stdin) args.push(...(request.stdinOnce ? [] : ['--leave-stdin-open']), '-i');
  return args;
}

/** `{"pid": N}`, or `{"pid": -1, "message": "<the runtime's stderr>"}` [K33, K35]. */
function parseReply(line: string): number {
  let reply: { pid?: unknown; message?: unknown };
  try {
    reply = JSON.parse(line) as typeof reply;
  } catch (error) {
    throw new Failure('Unknown', `error reading container (probably exited) json message: ${line === '' ? 'EOF' : textOf(error)}`, {
      cause: error,
    });
  }
  if (typeof reply.pid === 'number' && reply.pid > 0) return reply.pid;
  const message = typeof reply.message === 'string' ? reply.message.trim() : '';
  throw new Failure('Unknown', message === '' ? 'container create failed' : `container create failed: ${message}`);
}

function identify(pid: number, what: string): ProcessIdentity {
  const stat = Number.isSafeInteger(pid) && pid > 0 ? processStat(pid) : undefined;
  // A container that ended within the instant has no start time to remember: 0 never matches a process.
  return { pid, startTime: stat?.startTime ?? (what === 'conmon' ? '' : '0') };
}

async function firstLine(stream: Readable, timeoutMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  const timer = setTimeout(() => reject(new Failure('DeadlineExceeded', 'create container timeout')), timeoutMs);
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    text += chunk;
    const end = text.indexOf('\n');
    if (end >= 0) resolve(text.slice(0, end));
    else if (text.length > 64 * 1024) reject(new Failure('Unknown', 'conmon sent an endless line'));
  });
  stream.once('close', () => resolve(text));
  stream.once('end', () => resolve(text));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

function collect(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    if (text.length < 8192) text += chunk;
  });
  return () => text;
}

function describe(exit: { readonly code: number | null; readonly signal: string | null }): string {
  return exit.signal === null ? `exit status ${exit.code}` : `killed by ${exit.signal}`;
}
