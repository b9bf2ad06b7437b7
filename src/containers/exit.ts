import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Nanoseconds, nowNs } from '../clock/index.ts';
import { codeOf, textOf } from '../errors/index.ts';
import { exists } from '../files/index.ts';
import { isAlive } from '../linux/index.ts';
import { step } from '../steps/index.ts';
import { type Container, subjectOf } from './container.ts';
import type { ContainerContext } from './context.ts';
import { initIsAlive } from './liveness.ts';
import { isLive, startedAt } from './state.ts';

/** How long a dead container's exit file is waited for: conmon drains the container's output first [D167]. */
const EXIT_FILE_TRIES_MS = [0, 20, 100, 400, 1000, 2200];

export interface ExitRecord {
  readonly exitCode: number;
  readonly finishedAt: Nanoseconds;
}

/** conmon's `exit` in the persistent directory: decimal code; its ctime is the finish time [D169]. */
export async function readExitRecord(container: Container): Promise<ExitRecord | undefined> {
  const path = join(container.facts.directory, 'exit');
  try {
    const [text, info] = await Promise.all([readFile(path, 'utf8'), stat(path, { bigint: true })]);
    if (!/^-?\d+$/.test(text)) return undefined; // conmon renames it into place: anything else is not its work.
    return { exitCode: Number(text), finishedAt: info.ctimeNs };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Takes the end of a container's process into its state: exit code, finish time, OOM; unmounts the root file
 * system; drops the file in the exits directory [D149, D172]. Does nothing while the process lives or when the end is known.
 * Without conmon's record (it was killed) the code is 255, as CRI-O reports [D167].
 */
export async function takeExit(ctx: ContainerContext, container: Container): Promise<void> {
  using _ = await container.lock.acquire();
  if (container.removed || !isLive(container.state) || initIsAlive(container)) return;
  await ctx.tracer.operation('Exit', subjectOf(container), () => take(ctx, container));
}

async function take(ctx: ContainerContext, container: Container): Promise<void> {
  const record = (await step('exit record', () => awaitExitRecord(container))) ?? { exitCode: 255, finishedAt: nowNs() };
  const oomKilled = await exists(join(container.facts.runDirectory, 'oom'));
  const state = {
    status: 'stopped',
    startedAt: startedAt(container.state),
    finishedAt: record.finishedAt,
    exitCode: record.exitCode,
    oomKilled,
    seccompKilled: false,
    error: '',
  } as const;
  await step('state.json', () => container.become(state));
  await cleanUpAfterExit(ctx, container);
  ctx.onEvent('stopped', container);
}

async function awaitExitRecord(container: Container): Promise<ExitRecord | undefined> {
  for (const pause of EXIT_FILE_TRIES_MS) {
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    const nobodyWrites = monitorIsGone(container); // Looked at first: what a monitor wrote before its end is found now.
    const record = await readExitRecord(container);
    if (record !== undefined || nobodyWrites) return record;
  }
  return undefined;
}

/** After a reboot or its death: waiting for its record would hold up a start by seconds for each container. */
function monitorIsGone({ init, monitor }: Container): boolean {
  return monitor === undefined ? init === undefined : !isAlive(monitor.pid, monitor.startTime);
}

async function cleanUpAfterExit(ctx: ContainerContext, container: Container): Promise<void> {
  const { id, runtime } = container.facts;
  if (sharesHostPids(container)) {
    // Its children did not die with it, as they do with the init of a PID namespace [D171].
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

function sharesHostPids(container: Container): boolean {
  return !container.facts.spec.linux.namespaces.some((namespace) => namespace.type === 'pid');
}
