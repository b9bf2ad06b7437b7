import { existsSync, readFileSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Nanoseconds, nowNs } from '../clock/index.ts';
import { codeOf, textOf } from '../errors/index.ts';
import { type WaitStatus, type WatchedProcess, isAlive, signalProcess } from '../linux/index.ts';
import { step } from '../steps/index.ts';
import { within } from '../sync/index.ts';
import { type Container, subjectOf } from './container.ts';
import type { ContainerContext } from './context.ts';
import { initIsAlive } from './liveness.ts';
import { type StoppedState, isLive, startedAt } from './state.ts';

/** How long a monitor that lives may take to record the end of its container, whose output it writes first [D167]. */
const RECORD_TIMEOUT_MS = 3720;
/** Whoever inherits a process waits for it at once, or is an init that has other things to do. */
const REAP_TIMEOUT_MS = 700;
const SIGKILL = 9;

export interface ExitRecord {
  readonly exitCode: number;
  readonly finishedAt: Nanoseconds;
  /** What Status says besides the code; empty where the monitor recorded it. */
  readonly remark: string;
}

/**
 * Takes the end of a container's process into its state: exit code, finish time, OOM; unmounts the root file
 * system; drops the file in the exits directory [D149, D172]. Does nothing while the process lives or when the end is known.
 */
export async function takeExit(ctx: ContainerContext, container: Container): Promise<void> {
  using _ = await container.lock.acquire();
  if (container.removed || !isLive(container.state) || initIsAlive(container)) return;
  await ctx.tracer.operation('Exit', subjectOf(container), () => take(ctx, container));
}

async function take(ctx: ContainerContext, container: Container): Promise<void> {
  const record = await step('exit record', () => exitRecord(ctx, container));
  container.found(stoppedState(container, record));
  await afterwards(ctx, container);
}

/**
 * As `takeExit`, for the start of the daemon: a container that ended while nobody looked is stopped at once; what remains to be done
 * about it is the answer, for later. While its monitor still drains its output, all of it remains.
 */
export function takeExitAtStart(ctx: ContainerContext, container: Container): () => Promise<void> {
  if (!monitorIsGone(container)) return () => takeExit(ctx, container);
  container.found(stoppedState(container, readExitRecord(ctx, container) ?? unknownEnd(nowNs())));
  return async () => {
    using _ = await container.lock.acquire();
    if (!container.removed) await afterwards(ctx, container);
  };
}

function stoppedState(container: Container, record: ExitRecord): StoppedState {
  return {
    status: 'stopped',
    startedAt: startedAt(container.state),
    finishedAt: record.finishedAt,
    exitCode: record.exitCode,
    oomKilled: existsSync(join(container.facts.runDirectory, 'oom')),
    seccompKilled: false,
    error: record.remark,
  };
}

async function afterwards(ctx: ContainerContext, container: Container): Promise<void> {
  // It has ended whether the disk has room for that or not: the next start finds out anew (p08).
  await step('state.json', () => container.save()).catch((error) =>
    ctx.log.error(`Failed to write down that container ${container.id} has ended: ${textOf(error)}`),
  );
  container.unwatch();
  await cleanUpAfterExit(ctx, container);
  ctx.onEvent('stopped', container);
}

/** What the monitor recorded; where it cannot any more, what the kernel tells. */
async function exitRecord(ctx: ContainerContext, container: Container): Promise<ExitRecord> {
  const { watched } = container;
  const recorded = readExitRecord(ctx, container);
  if (recorded !== undefined) return recorded;
  if (!monitorIsGone(container)) {
    await within(RECORD_TIMEOUT_MS, container.exitReported.promise, watched?.monitor?.ended);
    const late = readExitRecord(ctx, container);
    if (late !== undefined) return late;
    endHangingMonitor(ctx, container);
  }
  // What it wrote before its end is found now.
  return readExitRecord(ctx, container) ?? (await kernelRecord(container));
}

/**
 * conmon's `exit` in the persistent directory, else its file in the exits directory, which may lie on another file system (one of
 * them may be full): decimal code; its ctime is the finish time [D169].
 */
function readExitRecord(ctx: ContainerContext, container: Container): ExitRecord | undefined {
  for (const path of [join(container.facts.directory, 'exit'), join(ctx.exitsDir, container.id)]) {
    try {
      const text = readFileSync(path, 'utf8');
      // conmon renames it into place: anything else is not its work.
      if (/^-?\d+$/.test(text)) return { exitCode: Number(text), finishedAt: statSync(path, { bigint: true }).ctimeNs, remark: '' };
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }
  return undefined;
}

/** Code 255 where nobody can tell, as CRI-O reports it [D167]. */
async function kernelRecord(container: Container): Promise<ExitRecord> {
  const init = container.watched?.init;
  if (init !== undefined && hasDied(container)) await within(REAP_TIMEOUT_MS, statusKnown(init));
  const finishedAt = init?.endedAtMs === undefined ? nowNs() : BigInt(Math.round(init.endedAtMs)) * 1_000_000n;
  if (init?.status === undefined) return unknownEnd(finishedAt);
  const remark = 'the monitor of the container (conmon) did not record its exit: the exit code is what the kernel tells';
  return { exitCode: exitCodeOf(init.status), finishedAt, remark };
}

/** The process itself, which may outlive its container where it is a sandbox's: then there is no end to wait for. */
function hasDied({ init }: Container): boolean {
  return init !== undefined && !isAlive(init.pid, init.startTime);
}

/** Its monitor may have died with it, and the news of that have come first. */
async function statusKnown(init: WatchedProcess): Promise<void> {
  await init.ended;
  if (init.status === undefined) await init.reaped;
}

function unknownEnd(finishedAt: Nanoseconds): ExitRecord {
  return { exitCode: 255, finishedAt, remark: 'the exit code is unknown: the monitor of the container (conmon) did not record it' };
}

function exitCodeOf(status: WaitStatus): number {
  return 'code' in status ? status.code : 128 + status.signal;
}

/** Its container has ended and it does not say so: stopped, or stuck in a write. It has no more work that could succeed (p07). */
function endHangingMonitor(ctx: ContainerContext, container: Container): void {
  const { monitor } = container;
  if (monitor === undefined || !isAlive(monitor.pid, monitor.startTime)) return;
  ctx.log.warn(
    `The monitor of container ${container.id} (process ${monitor.pid}) did not record its exit within ${RECORD_TIMEOUT_MS} ms: killing it`,
  );
  signalProcess(monitor.pid, monitor.startTime, SIGKILL);
}

/** After a reboot or its death: waiting for its record would hold up a start by seconds for each container. */
function monitorIsGone({ init, monitor }: Container): boolean {
  return monitor === undefined ? init === undefined : !isAlive(monitor.pid, monitor.startTime);
}

async function cleanUpAfterExit(ctx: ContainerContext, container: Container): Promise<void> {
  const { id, runtime } = container.facts;
  if (!ownsItsPids(container) && (await knownToRuntime(container))) {
    // Its children and what was executed in it did not die with it, as they do with the init of a PID namespace [D145, D171].
    await runtime
      .kill(id, '9', { all: true })
      .catch((error) => ctx.log.debug(`Killing what container ${id} left behind: ${textOf(error)}`));
  }
  try {
    await step('unmount', () => ctx.store.unmountContainer(id, true));
  } catch (error) {
    ctx.log.error(`Failed to unmount the root file system of container ${id}: ${textOf(error)}`);
  }
  await step('exit file', () => rm(join(ctx.exitsDir, id), { force: true }));
}

/** After a reboot it is not, and nothing of it runs. */
async function knownToRuntime({ id, facts }: Container): Promise<boolean> {
  return !facts.runtime.signalsDirectly || (await facts.runtime.view(id)) !== undefined;
}

/** Whether its PID namespace was made for it: not the host's, nor one that it joined. */
function ownsItsPids(container: Container): boolean {
  return container.facts.spec.linux.namespaces.some(({ type, path }) => type === 'pid' && path === undefined);
}
