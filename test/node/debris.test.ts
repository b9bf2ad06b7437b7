import assert from 'node:assert/strict';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { NamespaceMode } from '../../src/wire/index.ts';
import { eventually, only, refused } from '../harness/expect.ts';
import { BUSYBOX, TestNode } from '../harness/node.ts';
import { containerConfig, podConfig, runPod } from '../harness/pods.ts';

/** runc, but for what the files below /run/faults order: a create that fails after it did something, or hangs; a delete that fails. */
const FAULTY = `#!/bin/sh
bundle=
for word; do [ "$last" = --bundle ] && bundle=$word; last=$word; done
case " $* " in
*" create "*)
  if [ -e /run/faults/immutable ]; then
    rm /run/faults/immutable
    chattr +i "$bundle" && echo "$bundle" > /run/faults/bundle
    echo "ordered to fail" >&2
    exit 1
  fi
  if [ -e /run/faults/create ]; then
    rm /run/faults/create
    mkdir -p "/run/runc/$last"
    echo "ordered to fail" >&2
    exit 1
  fi
  if [ -e /run/faults/hang ]; then mv /run/faults/hang /run/faults/hanging; exec sleep 1000; fi ;;
*" delete "*)
  if [ -e /run/faults/delete ]; then echo "ordered not to delete" >&2; exit 1; fi ;;
esac
exec /usr/sbin/runc "$@"
`;

const node = new TestNode({
  images: ['busybox'],
  config: '[crio.runtime.runtimes.faulty]\nruntime_path = "/opt/faulty/runc"\nruntime_root = "/run/runc"\n',
  files: { '/opt/faulty/runc': FAULTY },
});

before(async () => {
  await node.boot();
  chmodSync(node.path('/opt/faulty/runc'), 0o755);
  await node.registry();
  await node.start();
  await node.client.PullImage({ image: { image: BUSYBOX } });
  const first = await runPod(node.client, podConfig(node.machine, 'first'), containerConfig('c', BUSYBOX, ['true']));
  await node.client.RemovePodSandbox({ podSandboxId: first.podSandboxId });
  await node.remember();
});
afterEach(async () => {
  rmSync(node.path('/run/faults'), { recursive: true, force: true });
  assert.deepEqual(await node.leaks(), []);
});
after(async () => await node.end());

interface Piece {
  readonly what: string;
  readonly tries: number;
  readonly error: string;
}

async function debris(): Promise<Piece[]> {
  return (await node.inspect('/v1/debris')) as Piece[];
}

test('[p02] a pod whose directory cannot be emptied for a while: its name is free at once, its debris goes as soon as it can, without a restart', async () => {
  const base = podConfig(node.machine, 'busy');
  const namespaces = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD };
  const config = { ...base, linux: { ...base.linux, securityContext: { namespaceOptions: namespaces } } };
  node.write('/run/faults/immutable', '');
  await refused(node.client.RunPodSandbox({ config, runtimeHandler: 'faulty' }), 'UNKNOWN', /ordered to fail/);
  const piece = (await debris()).find(({ what }) => /^sandbox [0-9a-f]{64}$/.test(what));
  assert.match(piece?.error ?? '', /unmount .*\/shm|EPERM/);
  const { podSandboxId } = await node.client.RunPodSandbox({ config, runtimeHandler: 'faulty' });
  await node.exec(['chattr', '-i', node.read('/run/faults/bundle').trim()]);
  await eventually('the debris is gone', async () => (await debris()).length === 0);
  assert.equal(only((await node.client.ListPodSandbox()).items).id, podSandboxId);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[p02] a container that the runtime does not give up: the next create succeeds at once; a restart forgets nothing', async () => {
  const sandboxConfig = podConfig(node.machine, 'kept');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'faulty' });
  const config = containerConfig('c', BUSYBOX, ['sleep', '1000000']);
  node.write('/run/faults/create', '');
  node.write('/run/faults/delete', '');
  await refused(node.client.CreateContainer({ podSandboxId, config, sandboxConfig }), 'UNKNOWN', /ordered to fail/);
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
  await node.client.StartContainer({ containerId });
  const { what } = only(await debris());
  await eventually('it is tried again', async () => only(await debris()).tries > 1);
  await node.kill9();
  await node.start();
  assert.deepEqual([only(await debris()).what, only((await node.client.ListContainers()).containers).id], [what, containerId]);
  assert.match(only(await debris()).error, /ordered not to delete/);
  rmSync(node.path('/run/faults/delete'));
  await eventually('the debris is gone', async () => (await debris()).length === 0);
  await node.client.ExecSync({ containerId, cmd: ['true'], timeout: 10n });
  await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 4000 });
});

test('[p02] what a removal cannot take off the disk is tried again until it can', async () => {
  const config = podConfig(node.machine, 'disk');
  const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, ['true']));
  const { info } = await node.client.ContainerStatus({ containerId, verbose: true });
  const { runtimeSpec } = JSON.parse(info.get('info') ?? '{}') as { runtimeSpec: { root: { path: string } } };
  const link = runtimeSpec.root.path.replace(/merged$/, 'link');
  await node.exec(['mount', '--bind', '/etc/hostname', link]);
  await node.client.RemoveContainer({ containerId });
  await eventually('it is debris', async () => (await debris()).length === 1);
  assert.match(only(await debris()).what, /^remove layer/);
  await node.exec(['umount', link]);
  await eventually('the debris is gone', async () => (await debris()).length === 0);
  assert.equal(existsSync(node.path(link)), false);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[F89 p02] a crash in the middle of a creation: its image volume is no longer mounted for it, but for those who use it', async () => {
  const sandboxConfig = podConfig(node.machine, 'volumes');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'faulty' });
  const config = (name: string) =>
    containerConfig(name, BUSYBOX, ['true'], { mounts: [{ containerPath: '/image', readonly: true, image: { image: BUSYBOX } }] });
  const users = () => {
    const text = node.read('/run/containers/storage/overlay-layers/mountpoints.json');
    const layers = JSON.parse(node.read('/var/lib/containers/storage/overlay-layers/layers.json')) as { id: string }[];
    const mounts = JSON.parse(text) as { id: string; count: number }[];
    return mounts.filter(({ id }) => layers.some((layer) => layer.id === id)).map(({ count }) => count);
  };
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config: config('user'), sandboxConfig });
  assert.deepEqual(users(), [1]);
  node.write('/run/faults/hang', '');
  const cutOff = node.client.CreateContainer({ podSandboxId, config: config('cut'), sandboxConfig });
  cutOff.catch(() => {});
  await eventually('the runtime hangs', async () => existsSync(node.path('/run/faults/hanging')));
  assert.deepEqual(users(), [2]);
  await node.kill9();
  await node.start();
  assert.deepEqual(users(), [1]);
  await node.client.RemoveContainer({ containerId });
  assert.deepEqual(users(), []);
  await node.client.RemovePodSandbox({ podSandboxId });
});
