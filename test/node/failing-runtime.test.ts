import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ContainerState } from '../../src/wire/index.ts';
import { only, refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod, settled, stateOf } from '../harness/pods.ts';
import { soon } from '../harness/processes.ts';

const CONTROL = '/opt/odd';
/** Notes what it is asked; fails a command where `fail-<command>` names the container, waits at it while `wait-<command>` is a FIFO. */
const ODD = `#!/bin/sh
for word; do
  case "$word" in
  create | start | delete | update | state)
    echo "$*" >> ${CONTROL}/log
    if [ -e "${CONTROL}/fail-$word" ]; then
      case "$*" in *"$(cat "${CONTROL}/fail-$word")"*) echo "made to fail" >&2; exit 1 ;; esac
    fi
    if [ -p "${CONTROL}/wait-$word" ]; then read -r _ < "${CONTROL}/wait-$word"; fi
    break
    ;;
  esac
done
exec /usr/sbin/runc "$@"
`;
/** A network plugin that gives everybody the same address, and can be told the like. */
const PLUGIN = `#!/bin/sh
cat > /dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID" >> ${CONTROL}/log
if [ -p "${CONTROL}/wait-$CNI_COMMAND" ]; then read -r _ < "${CONTROL}/wait-$CNI_COMMAND"; fi
if [ -e "${CONTROL}/fail-$CNI_COMMAND" ]; then echo '{"cniVersion":"1.0.0","code":999,"msg":"made to fail"}'; exit 1; fi
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
ADD) echo '{"cniVersion":"1.0.0","interfaces":[],"ips":[{"address":"10.9.0.5/24"}]}' ;;
esac
`;

const node = useNode({
  images: ['busybox'],
  config: `
[crio.runtime.runtimes.odd]
runtime_path = "${CONTROL}/runc-odd"
runtime_root = "/run/odd"
[crio.network]
plugin_dirs = ["${CONTROL}"]
`,
  programs: { [`${CONTROL}/runc-odd`]: ODD, [`${CONTROL}/odd-net`]: PLUGIN },
  files: {
    [`${CONTROL}/log`]: '',
    '/etc/cni/net.d/10-bridge.conflist': JSON.stringify({ cniVersion: '1.0.0', name: 'odd', plugins: [{ type: 'odd-net' }] }),
  },
});

function fail(command: string, container = ''): void {
  node.write(`${CONTROL}/fail-${command}`, container);
}

/** From now on the command waits until `go`. */
async function hold(command: string): Promise<void> {
  node.write(`${CONTROL}/log`, '');
  await node.exec(['mkfifo', `${CONTROL}/wait-${command}`]);
}

async function held(command: string, times = 1): Promise<void> {
  await soon(`${command} waits`, () => asked(command).length >= times, 60_000);
}

async function go(command: string): Promise<void> {
  const fifo = `${CONTROL}/wait-${command}`;
  // Who comes late finds no FIFO; whoever waits gets a line, or the end of the file, as soon as this one opens it.
  await node.exec(['sh', '-c', `mv ${fifo} ${fifo}.old && exec 3<>${fifo}.old && yes 2>/dev/null | head -n 1000 >&3 && rm ${fifo}.old`]);
}

async function heal(command: string): Promise<void> {
  await node.exec(['rm', `${CONTROL}/fail-${command}`]);
}

/** The lines of the log that name the command. */
function asked(command: string): string[] {
  return node
    .read(`${CONTROL}/log`)
    .split('\n')
    .filter((line) => line.split(' ').includes(command));
}

async function pod(name: string): Promise<{ podSandboxId: string; sandboxConfig: PodInput }> {
  const sandboxConfig = podConfig(node.machine, name);
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'odd' });
  return { podSandboxId, sandboxConfig };
}

function userdata(id: string): string {
  return `/var/lib/containers/storage/overlay-containers/${id}/userdata`;
}

interface StoredContainer {
  readonly id: string;
  readonly names: readonly string[];
}

function records(): StoredContainer[] {
  return JSON.parse(node.read('/var/lib/containers/storage/overlay-containers/volatile-containers.json')) as StoredContainer[];
}

function recordsOf(containerId: string): StoredContainer[] {
  return records().filter(({ id }) => id === containerId);
}

test('[D30 D134] a start that fails has taken the whole container away when it answers, and its name is free', async () => {
  const { podSandboxId, sandboxConfig } = await pod('no-start');
  const request = { podSandboxId, config: containerConfig('c', BUSYBOX, OBEDIENT), sandboxConfig };
  const { containerId } = await node.client.CreateContainer(request);
  fail('start');
  const start = node.client.StartContainer({ containerId });
  await refused(start, 'UNKNOWN', new RegExp(`^failed to start container ${containerId}: .*made to fail`));
  assert.deepEqual(recordsOf(containerId), []);
  await refused(node.client.ContainerStatus({ containerId }), 'NOT_FOUND', /ID does not exist$/);
  await heal('start');
  const again = await node.client.CreateContainer(request);
  assert.notEqual(again.containerId, containerId);
  await node.client.StartContainer(again);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p04] a start whose client gave up, and whose container has ended by the retry, is success once', async () => {
  const { podSandboxId, sandboxConfig } = await pod('brief');
  const { containerId } = await node.client.CreateContainer({
    podSandboxId,
    config: containerConfig('c', BUSYBOX, ['true']),
    sandboxConfig,
  });
  await hold('start');
  const gone = new AbortController();
  const start = node.client.StartContainer({ containerId }, { signal: gone.signal });
  start.catch(() => {});
  await held('start');
  gone.abort();
  await refused(start, 'CANCELLED', /.*/);
  await node.client.Version(); // By its answer the daemon knows that the client of the start has gone.
  await go('start');
  await settled(node.client, containerId);
  await node.client.StartContainer({ containerId });
  await refused(
    node.client.StartContainer({ containerId }),
    'FAILED_PRECONDITION',
    `container ${containerId} is not in created state: stopped`,
  );
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D30 D128] a create that fails has left nothing when it answers', async () => {
  const { podSandboxId, sandboxConfig } = await pod('no-create');
  const before = records();
  fail('create');
  const config = containerConfig('c', BUSYBOX, OBEDIENT);
  await refused(node.client.CreateContainer({ podSandboxId, config, sandboxConfig }), 'UNKNOWN', /^container create failed: made to fail/);
  assert.deepEqual(records(), before);
  await heal('create');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D95 D129] a stop of a pod waits for the container that is being made, which nobody sees before; later ones are refused', async () => {
  const { podSandboxId, sandboxConfig } = await pod('closing');
  await hold('create');
  const create = (name: string) =>
    node.client.CreateContainer({ podSandboxId, config: containerConfig(name, BUSYBOX, OBEDIENT), sandboxConfig });
  const creation = create('early');
  await held('create');
  const [id = ''] = asked('create')[0]?.split(' ').slice(-1) ?? [];
  assert.deepEqual((await node.client.ListContainers()).containers, []);
  await refused(node.client.ContainerStatus({ containerId: id }), 'NOT_FOUND', /ID does not exist$/);
  let stopped = false;
  const stop = node.client.StopPodSandbox({ podSandboxId }).then(() => (stopped = true));
  await soon('the pod closes', async () => (await node.client.PodSandboxStatus({ podSandboxId })).status?.state === 1);
  await refused(create('late'), 'FAILED_PRECONDITION', `CreateContainer failed as the sandbox was stopped: ${podSandboxId}`);
  assert.equal(stopped, false);
  await go('create');
  const { containerId } = await creation;
  await stop;
  assert.equal(containerId, id);
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_EXITED);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D97] a container that cannot be stopped fails the stop of its pod, after the others have ended; a repetition goes on', async () => {
  const { podSandboxId, sandboxConfig } = await pod('half');
  const ids: string[] = [];
  for (const name of ['bad', 'good', 'done']) {
    const config = containerConfig(name, BUSYBOX, name === 'done' ? ['true'] : ['sleep', '1000']);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await node.client.StartContainer({ containerId });
    ids.push(containerId);
  }
  const [bad = '', good = '', done = ''] = ids;
  const { finishedAt } = await settled(node.client, done);
  await node.exec(['mkdir', join(userdata(bad), 'exit')]);
  const stop = node.client.StopPodSandbox({ podSandboxId }, { timeoutMs: 4000 });
  await refused(stop, 'UNKNOWN', new RegExp(`^stop containers in parallel: failed to stop container ${bad}: .*EISDIR`));
  assert.equal((await stateOf(node.client, good)).state, ContainerState.CONTAINER_EXITED);
  assert.equal((await stateOf(node.client, done)).finishedAt, finishedAt);
  await node.exec(['rmdir', join(userdata(bad), 'exit')]);
  await node.client.StopPodSandbox({ podSandboxId });
  assert.equal((await stateOf(node.client, bad)).state, ContainerState.CONTAINER_EXITED);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D104 D108] a network that cannot be taken down fails a removal once, and says so', async () => {
  const { podSandboxId } = await pod('stuck-net');
  fail('DEL');
  const remove = node.client.RemovePodSandbox({ podSandboxId });
  await refused(
    remove,
    'UNKNOWN',
    new RegExp(`^stop pod network: network teardown failed for pod sandbox .*${podSandboxId}.*made to fail`),
  );
  await heal('DEL');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D153] a container that the runtime cannot delete stays until it can', async () => {
  const { podSandboxId, containerId } = await runPod(
    node.client,
    podConfig(node.machine, 'sticky'),
    containerConfig('c', BUSYBOX, ['true']),
    'odd',
  );
  await settled(node.client, containerId);
  const [name = ''] = only(recordsOf(containerId)).names;
  fail('delete', containerId);
  const remove = node.client.RemoveContainer({ containerId });
  await refused(remove, 'UNKNOWN', new RegExp(`^failed to delete container ${name} in pod sandbox ${podSandboxId}: .*made to fail`));
  assert.equal((await stateOf(node.client, containerId)).id, containerId);
  await heal('delete');
  await node.client.RemoveContainer({ containerId });
  assert.deepEqual(recordsOf(containerId), []);
  assert.ok(!existsSync(node.path(`/run/crio/exits/${containerId}`)));
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D162 D192 D196] an update that the runtime refuses is told with what it said; without linux nothing is asked, nor by a status', async () => {
  const { podSandboxId, containerId } = await runPod(
    node.client,
    podConfig(node.machine, 'updated'),
    containerConfig('c', BUSYBOX, OBEDIENT),
    'odd',
  );
  node.write(`${CONTROL}/log`, '');
  fail('update');
  const update = node.client.UpdateContainerResources({ containerId, linux: { cpuShares: 512n } });
  await refused(
    update,
    'UNKNOWN',
    new RegExp(`^updating resources for container "${containerId}" failed: .*made to fail .*: exit status 1$`),
  );
  assert.equal(asked('update').length, 1);
  await node.client.UpdateContainerResources({ containerId, annotations: new Map([['a', 'b']]) });
  assert.equal(asked('update').length, 1);
  await node.client.ContainerStatus({ containerId, verbose: true });
  await node.client.ListContainers();
  assert.deepEqual(asked('state'), []);
  await heal('update');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p01 p03] a create that takes longer than its client waits: each retry is told the stage, none that a name is taken, and there is one container', async () => {
  const { podSandboxId, sandboxConfig } = await pod('slow');
  await hold('create');
  const create = (attempt: number, timeoutMs = 60_000) => {
    const config = { ...containerConfig('c', BUSYBOX, OBEDIENT), metadata: { name: 'c', attempt } };
    return node.client.CreateContainer({ podSandboxId, config, sandboxConfig }, { timeoutMs });
  };
  const first = create(0);
  await held('create');
  for (let retry = 0; retry < 5; retry++) await refused(create(0, 300), 'DEADLINE_EXCEEDED', /^(?!.*reserved)/);
  const stages = node.log();
  assert.doesNotMatch(stages, /name is reserved/);
  // The kubelet has raised the attempt meanwhile: another container, whichever of the two is repeated, and in which order.
  const second = create(1);
  await held('create', 2);
  await go('create');
  const ids = [(await first).containerId, (await second).containerId];
  assert.notEqual(ids[0], ids[1]);
  assert.deepEqual([(await create(1)).containerId, (await create(0)).containerId], [ids[1], ids[0]]);
  assert.equal(asked('create').length, 2);
  const { containers } = await node.client.ListContainers();
  assert.deepEqual(new Set(containers.map(({ id }) => id)), new Set(ids));
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p42] lists and states are answered while runtimes and network plugins hang', async () => {
  const { podSandboxId, sandboxConfig } = await pod('busy');
  await hold('create');
  const creations = Array.from({ length: 10 }, async (_, n) => {
    const config = containerConfig(`c${n}`, BUSYBOX, OBEDIENT);
    await node.client.CreateContainer({ podSandboxId, config, sandboxConfig }, { timeoutMs: 120_000 });
  });
  await held('create', 10);
  await hold('ADD');
  const pods = Array.from(
    { length: 5 },
    async (_, n) => await node.client.RunPodSandbox({ config: podConfig(node.machine, `p${n}`) }, { timeoutMs: 120_000 }),
  );
  await held('ADD', 5);
  const quick = { timeoutMs: 5000 };
  for (let round = 0; round < 50; round++) {
    assert.deepEqual((await node.client.ListContainers({}, quick)).containers, []);
    assert.equal((await node.client.ListPodSandbox({}, quick)).items.length, 1);
    await node.client.PodSandboxStatus({ podSandboxId }, quick);
    await node.client.Status({}, quick);
  }
  await go('ADD');
  await go('create');
  await Promise.all(creations);
  assert.equal((await node.client.ListContainers()).containers.length, 10);
  for (const id of [podSandboxId, ...(await Promise.all(pods)).map((answer) => answer.podSandboxId)])
    await node.client.RemovePodSandbox({ podSandboxId: id });
});
