import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { type ServiceError, status } from '@grpc/grpc-js';
import { ContainerState, NamespaceMode, PodSandboxState, services } from '../../src/wire/index.ts';
import { type CriClient, connectCri } from '../harness/client.ts';
import { Subscriber, nameOf, subscribe } from '../harness/events.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod, untilListening } from '../harness/pods.ts';
import { UnreadStream } from '../harness/unread-stream.ts';

const node = useNode({ images: ['busybox'], config: '[crio.runtime]\nenable_pod_events = true\n' });

const clients: CriClient[] = [];
/** A client on a connection of its own. */
function newClient(): CriClient {
  const client = connectCri(node.path(node.socket));
  clients.push(client);
  return client;
}
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

/** Nothing from before is told to the subscribers of a test. */
async function hearOldEvents(): Promise<void> {
  await (await subscribe(newClient())).leave();
}

/** Runs a pod with a container that ends with 3 when told to, and takes all of it away again. */
async function wholeLife(name: string, more: PodInput = {}): Promise<{ podSandboxId: string; containerId: string }> {
  const container = containerConfig('c', BUSYBOX, ['sh', '-c', 'trap "exit 3" TERM; while :; do sleep 0.1; done']);
  const ids = await runPod(node.client, podConfig(node.machine, name, more), container);
  await untilListening(node.client, ids.containerId);
  await node.client.StopContainer({ containerId: ids.containerId, timeout: 20n });
  await node.client.RemoveContainer({ containerId: ids.containerId });
  await node.client.StopPodSandbox({ podSandboxId: ids.podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId: ids.podSandboxId });
  return ids;
}

test('[D220 D223 C69 C70] every subscriber is told each step of pods and containers, once, in order, with the state of that moment', async () => {
  await hearOldEvents();
  const before = BigInt(Date.now()) * 1_000_000n;
  const idle = newClient().GetContainerEvents();
  const subscribers = [await subscribe(newClient()), await subscribe(newClient())] as const;
  const { podSandboxId, containerId } = await wholeLife('told');
  for (const subscriber of subscribers) await subscriber.until(podSandboxId, 'DELETED');
  const [{ events }, other] = subscribers;
  assert.deepEqual(other.events, events);
  assert.deepEqual(
    events.map((event) => [
      event.containerId === podSandboxId ? 'pod' : event.containerId === containerId ? 'container' : '?',
      nameOf(event),
    ]),
    [
      ['pod', 'CREATED'],
      ['pod', 'STARTED'],
      ['container', 'CREATED'],
      ['container', 'STARTED'],
      ['container', 'STOPPED'],
      ['container', 'DELETED'],
      ['pod', 'STOPPED'],
      ['pod', 'DELETED'],
    ],
  );
  const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = ContainerState;
  assert.deepEqual(
    events.map(({ containersStatuses }) => containersStatuses.map(({ state }) => state)),
    [[], [], [CONTAINER_CREATED], [CONTAINER_RUNNING], [CONTAINER_EXITED], [], [], []],
  );
  assert.deepEqual(
    events.map(({ podSandboxStatus }) => podSandboxStatus?.state),
    [...Array.from({ length: 6 }, () => PodSandboxState.SANDBOX_READY), PodSandboxState.SANDBOX_NOTREADY, PodSandboxState.SANDBOX_NOTREADY],
  );
  for (const { podSandboxStatus } of events) {
    assert.equal(podSandboxStatus?.id, podSandboxId);
    assert.equal(podSandboxStatus.metadata?.name, 'told');
    assert.match(podSandboxStatus.network?.ip ?? '', /^10\.85\./);
  }
  assert.equal(events[4]?.containersStatuses[0]?.exitCode, 3);
  const times = [before, ...events.map(({ createdAt }) => createdAt), BigInt(Date.now() + 1) * 1_000_000n];
  for (const [n, time] of times.entries()) if (n > 0) assert.ok(time > (times[n - 1] ?? 0n), `event ${n} is not later than the one before`);
  // Who began to read only now has missed nothing.
  const late = new Subscriber(idle);
  await late.until(podSandboxId, 'DELETED');
  assert.deepEqual(late.events, events);
});

test('[D221] a subscriber that never reads is cut off; the others are told everything, and work goes on', async () => {
  await hearOldEvents();
  const { path, request } = services.RuntimeService.GetContainerEvents;
  const deaf = new UnreadStream(node.path(node.socket), path, request.encode({}));
  const reader = await subscribe(newClient());
  const annotations = new Map([['note', 'x'.repeat(900_000)]]);
  const ids: string[] = [];
  for (let n = 0; n < 6; n++) {
    const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, `big-${n}`, { annotations }) });
    await node.client.RemovePodSandbox({ podSandboxId });
    ids.push(podSandboxId);
  }
  for (const id of ids) {
    await reader.until(id, 'DELETED');
    assert.deepEqual(reader.of(id), ['CREATED', 'STARTED', 'STOPPED', 'DELETED']);
  }
  // What was on its way reaches it when it reads, and then why there is no more.
  const { bytes, status: code, message } = await deaf.read();
  deaf.close();
  assert.ok(bytes < 3 * 900_000, `${bytes} bytes were sent to somebody who did not read`);
  assert.equal(code, status.RESOURCE_EXHAUSTED);
  assert.match(message, /^events were not read fast enough: .* \(List pods and containers, and subscribe again\.\)$/);
});

test('[D222] what happened while nobody listened is told to the next subscriber, and only to that one', async () => {
  await hearOldEvents();
  const { podSandboxId, containerId } = await wholeLife('unheard');
  const first = await subscribe(newClient());
  await first.until(podSandboxId, 'DELETED');
  assert.deepEqual(first.of(containerId), ['CREATED', 'STARTED', 'STOPPED', 'DELETED']);
  const second = await subscribe(newClient());
  const next = await wholeLife('heard');
  await second.until(next.podSandboxId, 'DELETED');
  assert.deepEqual(second.of(podSandboxId), []);
  assert.equal(second.events.length, 8);
});

test('[D98 D172 D223 D111] a pod whose pause process dies is told as stopped, once, and may still be stopped', async () => {
  const subscriber = await subscribe(newClient());
  const config = podConfig(node.machine, 'paused');
  const namespaceOptions = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD };
  const { podSandboxId } = await node.client.RunPodSandbox({
    config: { ...config, linux: { ...config.linux, securityContext: { namespaceOptions } } },
  });
  const { info } = await node.client.PodSandboxStatus({ podSandboxId, verbose: true });
  const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
  await node.machine.exec(['kill', '-KILL', String(pid)]);
  const stopped = await subscriber.until(podSandboxId, 'STOPPED');
  assert.equal(stopped.podSandboxStatus?.state, PodSandboxState.SANDBOX_NOTREADY);
  assert.equal((await node.client.PodSandboxStatus({ podSandboxId })).status?.state, PodSandboxState.SANDBOX_NOTREADY);
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
  await subscriber.until(podSandboxId, 'DELETED');
  assert.deepEqual(subscriber.of(podSandboxId), ['CREATED', 'STARTED', 'STOPPED', 'DELETED']);
});

test('[D114] with events on, the status of a pod has a time that fits those of the events, and all of its containers', async () => {
  const subscriber = await subscribe(newClient());
  const config = podConfig(node.machine, 'view');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const { createdAt } = await subscriber.until(containerId, 'STARTED');
  const view = await node.client.PodSandboxStatus({ podSandboxId });
  assert.deepEqual(view.containersStatuses, [(await node.client.ContainerStatus({ containerId })).status]);
  assert.ok(view.timestamp > createdAt);
  await node.client.StopContainer({ containerId, timeout: 20n });
  assert.ok((await subscriber.until(containerId, 'STOPPED')).createdAt > view.timestamp);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D220] the removal of the old sandbox of a pod shows the one that took its place', async () => {
  const subscriber = await subscribe(newClient());
  const config = podConfig(node.machine, 'twice');
  const old = await runPod(node.client, config, containerConfig('c', BUSYBOX, ['true']));
  await subscriber.until(old.containerId, 'STOPPED');
  await node.client.StopPodSandbox({ podSandboxId: old.podSandboxId });
  const again = { ...config, metadata: { ...config.metadata, attempt: 1 } };
  const { podSandboxId } = await node.client.RunPodSandbox({ config: again });
  const started = await subscriber.until(podSandboxId, 'STARTED');
  assert.deepEqual(
    started.containersStatuses.map(({ id }) => id),
    [old.containerId],
  );
  await node.client.RemovePodSandbox({ podSandboxId: old.podSandboxId });
  const deleted = await subscriber.until(old.podSandboxId, 'DELETED');
  assert.equal(deleted.podSandboxStatus?.id, podSandboxId);
  assert.equal(deleted.podSandboxStatus.state, PodSandboxState.SANDBOX_READY);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D222] a stop of the daemon ends the streams at once; afterwards old pods are not told as new, and their ends are', async () => {
  const subscriber = await subscribe(newClient());
  const config = podConfig(node.machine, 'over');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
  const began = Date.now();
  await node.stop();
  assert.ok(Date.now() - began < 3000);
  const error: ServiceError | undefined = await subscriber.ended;
  assert.equal(error?.details, 'crio is stopping');
  await node.start();
  const after = await subscribe(newClient());
  await node.client.StopContainer({ containerId, timeout: 20n });
  await node.client.RemovePodSandbox({ podSandboxId });
  await after.until(podSandboxId, 'DELETED');
  assert.deepEqual(after.of(containerId), ['STOPPED', 'DELETED']);
  assert.deepEqual(after.of(podSandboxId), ['STOPPED', 'DELETED']);
});

test('[D118] StreamPodSandboxes and StreamContainers tell what the lists tell, and nothing where there is nothing', async () => {
  const ids: { podSandboxId: string; containerId: string }[] = [];
  for (const name of ['a', 'b', 'c']) {
    ids.push(await runPod(node.client, podConfig(node.machine, name), containerConfig(name, BUSYBOX, OBEDIENT)));
  }
  const [first] = ids;
  assert.ok(first);
  const { podSandboxId, containerId } = first;
  const pods = async (filter = {}) =>
    (await node.client.StreamPodSandboxes({ filter }).toArray()).flatMap((message) => message.podSandboxes);
  const containers = async (filter = {}) =>
    (await node.client.StreamContainers({ filter }).toArray()).flatMap((message) => message.containers);
  assert.deepEqual(await pods(), (await node.client.ListPodSandbox()).items);
  assert.deepEqual(await containers(), (await node.client.ListContainers()).containers);
  assert.deepEqual(
    (await pods({ id: podSandboxId.slice(0, 20) })).map(({ id }) => id),
    [podSandboxId],
  );
  assert.deepEqual(
    (await containers({ podSandboxId })).map(({ id }) => id),
    [containerId],
  );
  assert.deepEqual(await node.client.StreamPodSandboxes({ filter: { id: 'nothing' } }).toArray(), []);
  for (const id of ids) await node.client.RemovePodSandbox({ podSandboxId: id.podSandboxId });
  assert.deepEqual(await node.client.StreamContainers().toArray(), []);
});
