import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerState, NamespaceMode } from '../../../src/wire/index.ts';
import { FAULTY, Faults } from '../../harness/faults.ts';
import { BUSYBOX, type TestNode, useNode } from '../../harness/node.ts';
import { type LifeOptions, PodLife } from '../../harness/pod-life.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../../harness/pods.ts';

/** A pod with a host port, in the two forms that a pod can have. */
function variants(runtimeHandler: string): readonly (readonly [string, LifeOptions])[] {
  const portMappings = [{ hostPort: 18080, containerPort: 80 }];
  const plain: LifeOptions = { runtimeHandler, pod: (base) => ({ ...base, portMappings }) };
  const options = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD };
  const shared: LifeOptions = {
    runtimeHandler,
    pod: (base) => ({ ...base, linux: { ...base.linux, securityContext: { namespaceOptions: options } } }),
  };
  return [
    ['a pod', plain],
    ['a pod with a pause container', shared],
  ];
}

/**
 * For every step that the code takes in a pod's life, at its begin and at its end (and, with a helper, just after that was
 * started): the daemon is killed there, or the step fails, or the helper is killed. Afterwards the same call succeeds, the
 * bystander has noticed nothing, and at the end of the life nothing is left.
 */
export function crashSuite(runtimeHandler: string): void {
  let bystander: { containerId: string; podSandboxId: string; pid: number };
  const node = useNode({ images: ['busybox'], ...FAULTY }, async ({ client, machine }) => {
    const ids = await runPod(client, podConfig(machine, 'bystander'), containerConfig('b', BUSYBOX, OBEDIENT), runtimeHandler);
    bystander = { ...ids, pid: await initPid(node, ids.containerId) };
  });
  const faults = new Faults(node);

  for (const [name, options] of variants(runtimeHandler)) {
    test(`[D183 D23] ${runtimeHandler}: the daemon is killed at every step of the life of ${name}`, async () => {
      const points = await pointsOf(options);
      assert.ok(points.length > 50, `only ${points.length} points`);
      await atEach(points, ['kill'], options);
    });

    test(`${runtimeHandler}: every step of the life of ${name} fails`, async () => {
      const begins = (await pointsOf(options)).filter((point) => point.startsWith('begin '));
      await atEach(begins, ['fail'], options);
    });

    test(`${runtimeHandler}: every helper in the life of ${name} is killed when it has begun, and a little later`, async () => {
      const helpers = (await pointsOf(options)).filter((point) => point.startsWith('helper '));
      await atEach(helpers, ['kill-helper@0', 'kill-helper@4'], options);
    });
  }

  async function pointsOf(options: LifeOptions): Promise<string[]> {
    await node.restart();
    return await faults.pointsOf(() => new PodLife(node, 'healthy', options).finish());
  }

  /** All of them, also after one that failed: what goes wrong at one step often does at its neighbours, and that is telling. */
  async function atEach(points: readonly string[], actions: readonly string[], options: LifeOptions): Promise<void> {
    const failures: string[] = [];
    for (const point of points) {
      for (const action of actions) {
        try {
          // Some steps come once in a daemon's life.
          if (!(await lifeWith(point, action, options))) {
            await node.restart();
            assert.ok(await lifeWith(point, action, options), 'the point was not passed');
          }
          assert.deepEqual(await node.leaks(), [], 'it left something');
          await bystanderIsWell();
        } catch (error) {
          failures.push(`${action} at "${point}": ${error instanceof Error ? error.message : String(error)}`);
          console.error(failures.at(-1));
          faults.disarm();
          await node.removePods([bystander.podSandboxId]);
          await node.remember();
        }
      }
    }
    assert.deepEqual(failures, []);
  }

  async function lifeWith(point: string, action: string, options: LifeOptions): Promise<boolean> {
    const dies = action === 'kill';
    faults.arm(action, point);
    const life = new PodLife(node, 'faulty', options);
    for (let failures = 0, restarted = false; life.next !== undefined;) {
      try {
        await life.step();
      } catch (error) {
        if (!faults.hit || ++failures > 1) throw error;
      }
      if (!dies || !faults.hit || restarted) continue;
      await node.ended('30 s of the point');
      await node.start();
      restarted = true;
    }
    return faults.hit;
  }

  async function bystanderIsWell(): Promise<void> {
    assert.equal((await stateOf(node.client, bystander.containerId)).state, ContainerState.CONTAINER_RUNNING);
    assert.equal(await initPid(node, bystander.containerId), bystander.pid, 'the bystander was started anew');
  }
}

async function initPid(node: TestNode, containerId: string): Promise<number> {
  const { info } = await node.client.ContainerStatus({ containerId, verbose: true });
  return (JSON.parse(info.get('info') ?? '{}') as { pid: number }).pid;
}
