import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { type MessageInput, NamespaceMode, type NamespaceOption } from '../../src/wire/index.ts';
import { BUSYBOX, type TestNode, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, runPod, startPod } from '../harness/pods.ts';
import { ROOT, pidOf, sh, userPod } from '../harness/userns.ts';

const NODE = NamespaceMode.NODE;
/** Every pod has an infra container: what its spec says of the host's namespaces must do for a process. */
const node = useNode({ images: ['busybox'], config: '[crio.runtime]\ndrop_infra_ctr = false\n' }, withMqueue);

/** /dev/mqueue, as systemd mounts it on a node, in a /dev of the machine's own. */
async function withMqueue(made: TestNode): Promise<void> {
  const script = `mount -t tmpfs tmpfs /mnt && mkdir /mnt/dev /mnt/work
    mount -t overlay -o lowerdir=/dev,upperdir=/mnt/dev,workdir=/mnt/work overlay /dev
    mkdir -p /dev/shm /dev/mqueue && mount -t mqueue mqueue /dev/mqueue && touch /dev/mqueue/of-the-host`;
  await made.machine.exec(['sh', '-ec', script]);
  await made.restart();
}

interface Spec {
  readonly mounts: readonly { readonly destination: string; readonly type: string; readonly options: readonly string[] }[];
}
const specOf = (id: string) => JSON.parse(node.read(`/run/containers/storage/overlay-containers/${id}/userdata/config.json`)) as Spec;
const mountAt = (id: string, path: string) => specOf(id).mounts.find(({ destination }) => destination === path);

const cases: readonly (readonly [name: string, options: MessageInput<NamespaceOption>])[] = [
  ['network', { network: NODE }],
  ['ipc', { ipc: NODE }],
  ['pid', { pid: NODE }],
  ['all', { network: NODE, ipc: NODE, pid: NODE }],
  ['none', { pid: NamespaceMode.POD }],
];

for (const handler of ['runc', 'crun'])
  for (const [name, options] of cases)
    test(`[D90 G95] ${handler}: a user namespace beside the host’s namespaces: ${name}`, async () => {
      const config = userPod(node.machine, `host-${name}-${handler}`, options);
      const securityContext = { namespaceOptions: { pid: NamespaceMode.CONTAINER, ...options } };
      const container = containerConfig('c', BUSYBOX, OBEDIENT, { linux: { securityContext } });
      const begin = options.pid === NODE ? startPod : runPod; // The node's own first process will never listen.
      const { podSandboxId, containerId } = await begin(node.client, config, container, handler);
      const say = (script: string) => sh(node.client, containerId, script);
      assert.match(await say('cat /proc/self/uid_map'), new RegExp(`^0 +${ROOT} `));
      const pid = await pidOf(node.client, containerId);
      for (const [kind, mode] of [
        ['net', options.network],
        ['ipc', options.ipc],
        ['pid', options.pid],
      ] as const) {
        const [own, hosts] = [pid, 1].map((process) => statSync(node.path(`/proc/${process}/ns/${kind}`)).ino);
        assert.equal(own === hosts, mode === NODE, kind);
      }
      const bound = ['nosuid,noexec,nodev,ro,rbind', 'rw,rbind,nodev,nosuid,noexec'];
      for (const [path, mode, expected] of [
        ['/sys', options.network, bound[0]],
        ['/proc', options.pid, bound[1]],
        ['/dev/mqueue', options.ipc, bound[1]],
      ] as const) {
        const mount = mountAt(podSandboxId, path);
        if (mode === NODE) assert.deepEqual([mount?.type, mount?.options.join(',')], ['bind', expected], path);
        else assert.notEqual(mount?.type, 'bind', path);
      }
      assert.equal(await say('ls /dev/mqueue'), options.ipc === NODE ? 'of-the-host' : '');
      assert.equal((await say('readlink /proc/self/ns/pid')) === (await say('readlink /proc/1/ns/pid')), options.pid !== NODE);
      assert.match(await say('mkdir /sys/x; echo 1 > /proc/sys/vm/swappiness'), /mkdir[^]*swappiness: (Permission denied|Read-only)/);
      if (name === 'network') {
        await node.kill9();
        await node.start(); // It finds the pin of the host's network, which no spec names here.
      }
      await node.client.StopPodSandbox({ podSandboxId });
      await node.client.RemovePodSandbox({ podSandboxId });
    });
