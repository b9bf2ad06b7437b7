import { request } from 'node:http';
import { availableParallelism, loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { type ContainerStatus, ContainerState } from '../../src/wire/index.ts';
import type { TestNode } from './node.ts';
import { stateOf } from './pods.ts';

/** A container's first process and its monitor, as the node knows them. */
export async function processesOf(node: TestNode, containerId: string): Promise<{ readonly init: number; readonly monitor: number }> {
  const { info } = await node.client.ContainerStatus({ containerId, verbose: true });
  const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
  return { init: pid, monitor: Number(node.read(`/run/containers/storage/overlay-containers/${containerId}/userdata/conmon-pidfile`)) };
}

export async function signal(node: TestNode, name: 'KILL' | 'STOP' | 'CONT' | 'TERM', ...pids: readonly number[]): Promise<void> {
  await node.exec(['kill', `-${name}`, ...pids.map(String)]);
}

/** A limit in milliseconds for a free machine, as it is on one where others work too. */
export function limit(ms: number): number {
  return ms * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism());
}

/** Waits until something is so, and answers how many milliseconds that took; fails after `most`, as `limit` has it. */
export async function soon(what: string, isSo: () => boolean | Promise<boolean>, most = 4000): Promise<number> {
  const began = Date.now();
  while (!(await isSo())) {
    if (Date.now() - began > limit(most)) throw new Error(`${what}: not within ${most} ms`);
    await delay(20);
  }
  return Date.now() - began;
}

/** Waits until a container counts as exited, as `soon`. */
export async function exitedSoon(node: TestNode, containerId: string, most?: number): Promise<ContainerStatus> {
  let status: ContainerStatus | undefined;
  await soon(
    `the exit of container ${containerId} is known`,
    async () => (status = await stateOf(node.client, containerId)).state === ContainerState.CONTAINER_EXITED,
    most,
  );
  if (status === undefined) throw new Error('no status');
  return status;
}

/** A GET of the inspect API. */
export async function inspect(node: TestNode, path: string): Promise<{ readonly code: number; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number; body: string }>();
  const call = request({ socketPath: node.path(node.socket), path }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => resolve({ code: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
  });
  call.on('error', reject).end();
  return await promise;
}
