import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { get } from 'node:http';
import { describe, test } from 'node:test';
import { json } from 'node:stream/consumers';
import { NamespaceMode } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, type TestNode, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { sh, withUserNamespace } from '../harness/userns.ts';

const SUBORDINATE = 'somebody:1:1\ncontainers:300000:5000\n';
const MODE = 'userns-mode.crio.io';

interface Ids {
  readonly runAsUser?: { readonly value: bigint };
  readonly runAsGroup?: { readonly value: bigint };
}

function annotated(node: TestNode, name: string, mode: string, ids: Ids = {}): PodInput {
  const config = podConfig(node.machine, name, { annotations: new Map([[MODE, mode]]) });
  return { ...config, linux: { ...config.linux, securityContext: { ...config.linux?.securityContext, ...ids } } };
}

const container = (ids: Ids = {}) =>
  containerConfig('c', BUSYBOX, OBEDIENT, { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER }, ...ids } } });

async function uidMap(node: TestNode, containerId: string): Promise<string> {
  return (await sh(node.client, containerId, 'cat /proc/self/uid_map')).replaceAll(/ +/g, ' ').replaceAll(/^ /gm, '');
}

const remove = (node: TestNode, podSandboxId: string) => node.client.RemovePodSandbox({ podSandboxId });

describe('the annotation of old', () => {
  const handler = (name: string, more: string) =>
    `[crio.runtime.runtimes.${name}]\nruntime_path = "/usr/sbin/runc"\nruntime_root = "/run/runc"\n${more}\n`;
  const node = useNode({
    images: ['busybox'],
    config: handler('old', `allowed_annotations = ["${MODE}"]`),
    files: { '/etc/subuid': SUBORDINATE, '/etc/subgid': SUBORDINATE },
  });

  test('[D84 D85 D87 G86 G87 P11] auto: each pod has ids of user containers that no other pod has', async () => {
    const pods = [];
    for (const name of ['one', 'two']) pods.push(await runPod(node.client, annotated(node, name, 'auto:size=2000'), container(), 'old'));
    const maps = await Promise.all(pods.map(({ containerId }) => uidMap(node, containerId)));
    assert.deepEqual(maps, ['0 300000 2000', '0 302000 2000']);
    assert.match(node.log(), /level=warning msg="Annotation 'io\.kubernetes\.cri-o\.userns-mode' is deprecated/);
    await refused(
      node.client.RunPodSandbox({ config: annotated(node, 'three', 'auto:size=2000'), runtimeHandler: 'old' }),
      'RESOURCE_EXHAUSTED',
      /not enough unused IDs in user namespace: 2000 are needed, 1000 are free/,
    );
    await remove(node, pods[0]?.podSandboxId ?? '');
    const four = await runPod(node.client, annotated(node, 'four', 'auto:size=1500'), container(), 'old');
    assert.equal(await uidMap(node, four.containerId), '0 300000 1500');
    for (const { podSandboxId } of [...pods.slice(1), four]) await remove(node, podSandboxId);
  });

  test('[F28 D87] the ids that a request names are the host’s: the container runs as them', async () => {
    const ids = { runAsUser: { value: 4000n }, runAsGroup: { value: 5000n } };
    for (const [mode, id, group] of [
      ['auto:size=100', 0, 0],
      ['auto:size=100;map-to-root=true', 0, 0],
      ['auto:size=5001;keep-id=true', 4000, 5000],
    ] as const) {
      const { podSandboxId, containerId } = await runPod(node.client, annotated(node, 'host-ids', mode, ids), container(ids), 'old');
      assert.equal(await sh(node.client, containerId, 'echo $(id -u):$(id -g)'), `${id}:${group}`, mode);
      const { stdout } = await node.exec(['sh', '-c', `ps -eo uid,gid,args | grep -c "^ *4000 *5000 *sh -c trap"`]);
      assert.equal(stdout.toString('utf8').trim(), '1', 'on the host it is user 4000');
      await node.kill9();
      await node.start();
      const { containerId: later } = await node.client.CreateContainer({
        podSandboxId,
        config: { ...container(ids), metadata: { name: 'later', attempt: 0 } },
        sandboxConfig: annotated(node, 'host-ids', mode, ids),
      });
      await node.client.StartContainer({ containerId: later });
      assert.equal(await sh(node.client, later, 'echo $(id -u):$(id -g)'), `${id}:${group}`, 'after a restart too');
      await remove(node, podSandboxId);
    }
  });

  test('[D88 G88 D86 G89] private: the ids of the annotation', async () => {
    const mode = 'private:uidmapping=0:400000:1000,1000:500000:1000';
    const root = { runAsUser: { value: 400_000n } };
    await refused(
      node.client.RunPodSandbox({ config: annotated(node, 'nobody', mode), runtimeHandler: 'old' }),
      'INVALID_ARGUMENT',
      'cannot use uidmapping or gidmapping if RunAsUser is not set',
    );
    const config = annotated(node, 'private', mode, { runAsUser: { value: 0n } });
    const { podSandboxId, containerId } = await runPod(node.client, config, container(root), 'old');
    assert.equal(await uidMap(node, containerId), '0 400000 1000\n1000 500000 1000\n2000 0 1');
    assert.equal(await sh(node.client, containerId, 'id -u'), '0');
    await remove(node, podSandboxId);
  });

  test('[P1 p49] a handler that does not allow the annotation does not know it', async () => {
    const { podSandboxId, containerId } = await runPod(node.client, annotated(node, 'not-allowed', 'auto'), container());
    assert.equal(await uidMap(node, containerId), '0 0 4294967295');
    assert.deepEqual(readdirSync(node.path('/run/userns')), []);
    await remove(node, podSandboxId);
  });
});

describe('ids in the configuration', () => {
  const config = '[crio.runtime]\nuid_mappings = "0:600000:70000"\ngid_mappings = "0:700000:70000"\n';
  const node = useNode({ images: ['busybox'], config });

  test('[D84 G91 B73] all pods have them that ask for nothing else', async () => {
    assert.match(
      node.log(),
      /level=error msg="Configuration options 'uid_mappings' and 'gid_mappings' are deprecated, and will be replaced/,
    );
    const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, 'configured'), container());
    assert.equal(await uidMap(node, containerId), '0 600000 70000');
    assert.equal(await sh(node.client, containerId, 'stat -c %u:%g /bin'), '0:0');
    const { uid, gid } = statSync(node.path(`/run/containers/storage/overlay-containers/${podSandboxId}/userdata/resolv.conf`));
    assert.deepEqual([uid, gid], [600_000, 700_000]);
    await remove(node, podSandboxId);
    const own = await runPod(node.client, withUserNamespace(podConfig(node.machine, 'own')), container());
    assert.equal(await uidMap(node, own.containerId), '0 196608 65536');
    await remove(node, own.podSandboxId);
    const usernsOptions = { mode: NamespaceMode.NODE, uids: [], gids: [] };
    const host = await runPod(node.client, withUserNamespace(podConfig(node.machine, 'host'), { usernsOptions }), container());
    assert.equal(await uidMap(node, host.containerId), '0 0 4294967295');
    await remove(node, host.podSandboxId);
  });

  test('[C75 C76 A192] they are told to who asks for the node’s settings', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    get({ socketPath: node.path(node.socket), path: '/info' }, (response) => void json(response).then(resolve, reject)).on('error', reject);
    const { default_id_mappings: mappings } = (await promise) as { default_id_mappings: unknown };
    assert.deepEqual(mappings, {
      uids: [{ container_id: 0, host_id: 600_000, size: 70_000 }],
      gids: [{ container_id: 0, host_id: 700_000, size: 70_000 }],
    });
    const { stdout } = await node.crio(['status', 'info']);
    assert.match(stdout.toString('utf8'), /GID mappings[^]*\n +0:700000:70000\n[^]*UID mappings[^]*\n +0:600000:70000/);
  });

  test('[G91] a malformed setting ends the start', async () => {
    await node.stop();
    const { code, stderr } = await node.startAndEnd('--uid-mappings', '0:1');
    assert.notEqual(code, 0);
    assert.match(stderr, /initializing ID mappings: UID setting is malformed expected \[\\"uint32:uint32:uint32\\"\]: \\"0:1\\"/);
    await node.start();
  });
});
