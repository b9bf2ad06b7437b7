import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { textOf } from '../errors/index.ts';
import { processStat } from '../linux/index.ts';
import type { ProcessIdentity } from '../oci/monitor/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import type { OciSpec } from '../oci/spec/index.ts';
import { createdAnnotation } from './annotations.ts';
import type { ContainerContext } from './context.ts';
import type { ContainerRecordPaths } from './restore.ts';
import { isLive } from './state.ts';
import { type SavedState, decodeStateFile } from './state-file.ts';

/**
 * A container's state as its state.json tells it [D185], completed by what the runtime knows where an old version left out its
 * first process [D189]. A file that is missing or cannot be read is replaced by what is known without it: the container
 * stays listed, so that it can be stopped and removed, and its name with it.
 */
export async function savedState(
  ctx: ContainerContext,
  record: ContainerRecordPaths,
  spec: OciSpec,
  runtime: OciRuntime,
): Promise<SavedState> {
  const saved = readState(ctx, record, spec);
  if (!isLive(saved.state)) return saved;
  const init = saved.init === undefined || saved.init.startTime === '' ? await initOf(record, runtime, saved.init?.pid) : saved.init;
  if (init !== undefined && !existsSync(record.runDirectory) && !standsInCgroupOf(record.id, init.pid))
    return { ...saved, init: undefined, monitor: undefined }; // Of an earlier boot: another process has its PID and start time by chance.
  return { ...saved, init };
}

function readState(ctx: ContainerContext, record: ContainerRecordPaths, spec: OciSpec): SavedState {
  try {
    return decodeStateFile(readFileSync(join(record.directory, 'state.json'), 'utf8'), record.id);
  } catch (error) {
    ctx.log.error(`The state of container ${record.id} cannot be read, taking what its processes tell: ${textOf(error)}`);
    const createdAt = createdAnnotation(spec);
    return { state: { status: 'running', startedAt: createdAt }, createdAt, init: undefined, monitor: monitorOf(record) };
  }
}

async function initOf(record: ContainerRecordPaths, runtime: OciRuntime, pid: number | undefined): Promise<ProcessIdentity | undefined> {
  const view = await runtime.view(record.id);
  if (view === undefined || view.startTime === '' || (pid !== undefined && pid !== view.pid)) return undefined;
  return { pid: view.pid, startTime: view.startTime };
}

/** The process that conmon's pidfile names, if it is a monitor of this container. */
function monitorOf({ id, runDirectory }: ContainerRecordPaths): ProcessIdentity | undefined {
  const file = join(runDirectory, 'conmon-pidfile');
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  if (!Number.isSafeInteger(pid) || pid <= 0 || !textOfProcess(pid, 'cmdline').split('\0').includes(id)) return undefined;
  const stat = processStat(pid);
  return stat === undefined ? undefined : { pid, startTime: stat.startTime };
}

function standsInCgroupOf(id: string, pid: number): boolean {
  return textOfProcess(pid, 'cgroup').includes(id);
}

/** Empty for a process that has gone. */
function textOfProcess(pid: number, file: 'cmdline' | 'cgroup'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
