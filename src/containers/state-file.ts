import { GO_ZERO_TIME, type Nanoseconds, fromRfc3339, toRfc3339 } from '../clock/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import type { ProcessIdentity } from '../oci/monitor/index.ts';
import { type ContainerState, startedAt } from './state.ts';

/** What state.json holds beside the container's state (docs/reference/cri-o-ondisk.md §5.3). */
export interface SavedState {
  readonly state: ContainerState;
  readonly createdAt: Nanoseconds;
  readonly init: ProcessIdentity | undefined;
  readonly monitor: ProcessIdentity | undefined;
}

export interface StateFileFacts {
  readonly id: string;
  readonly ociVersion: string;
  readonly bundle: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** CRI-O's state.json: the OCI state merged with its own keys, in its order, one line [D174]. */
export function encodeStateFile(saved: SavedState, facts: StateFileFacts): string {
  const { state, init, monitor } = saved;
  const stopped = state.status === 'stopped' ? state : undefined;
  const pid = init === undefined || stopped !== undefined ? 0 : init.pid;
  const json = {
    ociVersion: facts.ociVersion,
    id: facts.id,
    status: state.status,
    ...(pid === 0 ? {} : { pid }),
    bundle: facts.bundle,
    ...(Object.keys(facts.annotations).length === 0 ? {} : { annotations: facts.annotations }),
    created: toRfc3339(saved.createdAt),
    started: toRfc3339(startedAt(state)),
    finished: toRfc3339(stopped?.finishedAt),
    ...(stopped?.exitCode === undefined ? {} : { exitCode: stopped.exitCode }),
    ...(stopped?.oomKilled === true ? { oomKilled: true } : {}),
    ...(stopped?.seccompKilled === true ? { seccompKilled: true } : {}),
    ...(stopped === undefined || stopped.error === '' ? {} : { error: stopped.error }),
    ...(init === undefined ? {} : { initPid: init.pid, initStartTime: init.startTime }),
    checkpointedTime: GO_ZERO_TIME,
    ...(monitor === undefined ? {} : { containerMonitorProcess: { pid: monitor.pid, startTime: monitor.startTime } }),
  };
  return `${JSON.stringify(json)}\n`;
}

/**
 * Reads what CRI-O or we wrote; a spoofed infra container's empty `status` is `created`.
 * Fails with the text of [D185] where it is no such JSON.
 */
export function decodeStateFile(text: string, id: string): SavedState {
  let json: Record<string, unknown>;
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) throw new Failure('Unknown', 'not a JSON object');
    json = parsed as Record<string, unknown>;
  } catch (error) {
    throw new Failure('Unknown', `error reading container state from disk "${id}": ${textOf(error)}`, { cause: error });
  }
  const time = (key: string) => (typeof json[key] === 'string' ? fromRfc3339(json[key]) : undefined);
  const started = time('started');
  const init = identity(json['initPid'], json['initStartTime']) ?? identity(json['pid'], '');
  return { state: stateOf(json, started, time('finished')), createdAt: time('created') ?? 0n, init, monitor: monitorOf(json) };
}

function stateOf(json: Record<string, unknown>, started: Nanoseconds | undefined, finished: Nanoseconds | undefined): ContainerState {
  const status = json['status'];
  const exitCode = typeof json['exitCode'] === 'number' ? json['exitCode'] : undefined;
  if (status === 'stopped') {
    return {
      status,
      startedAt: started,
      finishedAt: finished ?? 0n,
      exitCode,
      oomKilled: json['oomKilled'] === true,
      seccompKilled: json['seccompKilled'] === true,
      error: typeof json['error'] === 'string' ? json['error'] : '',
    };
  }
  if (status === 'running' || status === 'paused') return { status, startedAt: started ?? 0n };
  if (status === 'created' || status === '') return { status: 'created' };
  return { status: 'unknown', why: `unknown status ${JSON.stringify(status)} in state.json` };
}

function identity(pid: unknown, startTime: unknown): ProcessIdentity | undefined {
  return typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0
    ? { pid, startTime: typeof startTime === 'string' ? startTime : '' }
    : undefined;
}

function monitorOf(json: Record<string, unknown>): ProcessIdentity | undefined {
  const monitor = json['containerMonitorProcess'];
  if (monitor === null || typeof monitor !== 'object') return undefined;
  const { pid, startTime } = monitor as { pid?: unknown; startTime?: unknown };
  return identity(pid, startTime);
}
