import assert from 'node:assert/strict';
import { createReadStream, readdirSync, renameSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, settled, startPod, stateOf } from '../harness/pods.ts';

const node = useNode({ images: ['busybox'] });
const LINES = 1_000_000;
const ROTATIONS = 50;

test('[E86 E88 p40] a million numbered lines over fifty rotations: none is lost, none comes twice, none is torn', async () => {
  const config = podConfig(node.machine, 'rotation');
  // In steps, so that it lasts until the last rotation whatever the machine does; each step is as fast as it can be.
  const script = `i=0; while [ $i -lt ${ROTATIONS} ]; do seq $((i * ${LINES / ROTATIONS} + 1)) $(((i + 1) * ${LINES / ROTATIONS})); i=$((i + 1)); sleep 0.05; done`;
  const { podSandboxId, containerId } = await startPod(node.client, config, containerConfig('c', BUSYBOX, ['sh', '-c', script]), '');
  const { logPath } = await stateOf(node.client, containerId);
  const path = node.path(logPath);
  let rotations = 0;
  for (; rotations < ROTATIONS; rotations++) {
    if ((await stateOf(node.client, containerId)).state === ContainerState.CONTAINER_EXITED) break;
    while (statSync(path).size < 100_000 && (await stateOf(node.client, containerId)).state === ContainerState.CONTAINER_RUNNING)
      await delay(1);
    // As the kubelet does it.
    renameSync(path, `${path}.20260101-${String(rotations).padStart(6, '0')}`);
    await node.client.ReopenContainerLog({ containerId }).catch((error: unknown) => {
      // The container may just have ended.
      assert.match(String(error), /container is not running|ctl file|log reopen/);
    });
  }
  await settled(node.client, containerId);
  assert.ok(rotations >= 20, `only ${rotations} rotations came in between`);
  let expected = 1;
  for (const name of filesOf(path)) {
    for await (const line of createInterface({ input: createReadStream(join(dirname(path), name)) })) {
      const [, tag, text] = /^\S+ stdout ([FP]) (.*)$/.exec(line) ?? [];
      assert.ok(tag !== undefined && text !== undefined, `torn: ${line}`);
      part += text;
      if (tag === 'P') continue;
      assert.equal(part, String(expected), `after ${expected - 1} in ${name}`);
      expected++;
      part = '';
    }
  }
  assert.equal(expected - 1, LINES);
  await node.client.RemovePodSandbox({ podSandboxId });
});
let part = '';

/** The renamed ones by their times, then the one that has the name now. */
function filesOf(path: string): string[] {
  const own = basename(path);
  const all = readdirSync(dirname(path)).filter((name) => name.startsWith(own));
  return [...all.filter((name) => name !== own).toSorted(), ...all.filter((name) => name === own)];
}
