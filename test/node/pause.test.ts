import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NamespaceMode } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const UNREACHABLE = '127.0.0.1:1/pause:none';
const node = useNode({ images: ['busybox'], config: `[crio.image]\npause_image = "${UNREACHABLE}"\n` });

test(
  '[p21] where pause_image cannot be pulled, pods stand on a built-in one, with its process where they share their PIDs',
  {
    skip: process.arch !== 'x64' && 'the built-in pause program is assembled for x86-64 only',
  },
  async () => {
    const shared = { namespaceOptions: { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD } };
    const plain = podConfig(node.machine, 'offline');
    const config = { ...plain, linux: { ...plain.linux, securityContext: shared } };
    const container = containerConfig('c', BUSYBOX, OBEDIENT, {
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
    });
    const { podSandboxId, containerId } = await runPod(node.client, config, container);
    const { stdout } = await node.client.ExecSync({ containerId, cmd: ['cat', '/proc/1/comm'] });
    assert.equal(Buffer.from(stdout).toString('utf8'), 'pause\n');
    const { images } = await node.client.ListImages();
    assert.ok(images.some(({ repoTags }) => repoTags.includes('localhost/crio-ts/pause:built-in')));
    await node.client.StopPodSandbox({ podSandboxId });
    await node.client.RemovePodSandbox({ podSandboxId });
  },
);
