import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerState, NamespaceMode } from '../../../src/wire/index.ts';
import { FAULTY, Faults, moments } from '../../harness/faults.ts';
import { BUSYBOX, type TestNode, useNode } from '../../harness/node.ts';
import { type LifeOptions, PodLife } from '../../harness/pod-life.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../../harness/pods.ts';
import { processesOf } from '../../harness/processes.ts';

/** A pod whose life is looked at step by step. */
export interface Life {
  readonly name: string;
  readonly options: LifeOptions;
  /** Only steps of that name, for a life that differs from others in them alone. */
  readonly concerned?: RegExp;
}

/** A pod with a host port. */
export function plainLife(runtimeHandler: string): Life {
  const portMappings = [{ hostPort: 18080, containerPort: 80 }];
  return { name: 'a pod', options: { runtimeHandler, pod: (base) => ({ ...base, portMappings }) } };
}

/** That one, and one with a pause container. */
function livesUnder(runtimeHandler: string): readonly Life[] {
  const options = { network: NamespaceMode.POD, ipc: NamespaceMode.POD, pid: NamespaceMode.POD };
  const shared: LifeOptions = {
    runtimeHandler,
    pod: (base) => ({ ...base, linux: { ...base.linux, securityContext: { namespaceOptions: options } } }),
  };
  return [
    plainLife(runtimeHandler),
    { name: 'a pod with a pause container', options: shared, concerned: /infra container|StopPodSandbox\/(mark|remove|shm)/ },
  ];
}

/**
 * For every step that the code takes in a pod's life, at its begin and at its end (and, with a helper, just after that was
 * started): the daemon is killed there, the step fails, the helper is killed, or the container's monitor is. Afterwards
 * the same call succeeds, the bystander has noticed nothing, and at the end of the life nothing is left. A step that is another
 * handler's as well does not fail differently: with `ownStepsOnly`, only steps of the runtime fail, and only it and its monitor are killed.
 */
export function crashSuite(runtimeHandler: string, { lives = livesUnder(runtimeHandler), ownStepsOnly = false } = {}): void {
  let bystander: Bystander | undefined;
  const node = useNode({ images: ['busybox'], ...FAULTY }, async () => (bystander = await Bystander.start(node, runtimeHandler)));
  const isOwn = (point: string) => !ownStepsOnly || point.includes(`/${runtimeHandler} `) || point.includes('/conmon ');
  const crash = new Crash(node, () => bystander ?? assert.fail('nobody stands by'));

  for (const { name, options, concerned } of lives) {
    const pointsOf = async () => (await crash.pointsOf(options)).filter((point) => concerned?.test(point) !== false);
    const which = concerned === undefined ? 'every' : 'every concerned';

    test(`[D183] ${runtimeHandler}: the daemon is killed at ${which} step of the life of ${name}`, async () => {
      const points = moments(await pointsOf());
      assert.ok(points.length > (concerned === undefined ? 50 : 8), `only ${points.length} points`);
      await crash.atEach(points, ['kill'], options);
    });

    test(`${runtimeHandler}: ${which} step of the life of ${name} fails`, async () => {
      const begins = (await pointsOf()).filter((point) => point.startsWith('begin ') && isOwn(point));
      assert.ok(begins.length > 0);
      await crash.atEach(begins, ['fail'], options);
    });

    test(`${runtimeHandler}: ${which} helper in the life of ${name} is killed when it has begun, and a little later`, async () => {
      const helpers = (await pointsOf()).filter((point) => point.startsWith('helper ') && isOwn(point));
      assert.ok(helpers.length > 0);
      await crash.atEach(helpers, ['kill-helper@0', 'kill-helper@4'], options);
    });

    if (concerned !== undefined) continue;
    test(`[p09] ${runtimeHandler}: the monitor in the life of ${name} is killed at every step that it lives to see`, async () => {
      const points = moments(await crash.pointsOf(options));
      const from = points.indexOf('end CreateContainer/conmon and runtime create');
      const to = points.findIndex((point) => point.startsWith('begin StopContainer/'));
      assert.ok(from >= 0 && to > from);
      await crash.atEach(points.slice(from, to + 1), ['kill-monitor'], options);
    });
  }
}

/** A pod that runs through it all. */
class Bystander {
  readonly podSandboxId: string;
  readonly monitor: number;
  readonly #node: TestNode;
  readonly #containerId: string;
  readonly #init: number;

  private constructor(node: TestNode, ids: { podSandboxId: string; containerId: string }, processes: { init: number; monitor: number }) {
    this.#node = node;
    this.podSandboxId = ids.podSandboxId;
    this.#containerId = ids.containerId;
    this.#init = processes.init;
    this.monitor = processes.monitor;
  }

  static async start(node: TestNode, runtimeHandler: string): Promise<Bystander> {
    const config = podConfig(node.machine, 'bystander');
    const ids = await runPod(node.client, config, containerConfig('b', BUSYBOX, OBEDIENT), runtimeHandler);
    return new Bystander(node, ids, await processesOf(node, ids.containerId));
  }

  async isWell(): Promise<void> {
    assert.equal((await stateOf(this.#node.client, this.#containerId)).state, ContainerState.CONTAINER_RUNNING);
    assert.equal((await processesOf(this.#node, this.#containerId)).init, this.#init, 'the bystander was started anew');
  }
}

class Crash {
  readonly #node: TestNode;
  readonly #bystander: () => Bystander;
  readonly #faults: Faults;

  constructor(node: TestNode, bystander: () => Bystander) {
    this.#node = node;
    this.#bystander = bystander;
    this.#faults = new Faults(node);
  }

  /** Of a daemon that has just started: some steps come once in its life. */
  async pointsOf(options: LifeOptions): Promise<string[]> {
    await this.#node.restart();
    return await this.#faults.pointsOf(() => new PodLife(this.#node, 'healthy', options).finish());
  }

  /** All of them, also after one that failed: what goes wrong at one step often does at its neighbours, and that is telling. */
  async atEach(points: readonly string[], actions: readonly string[], options: LifeOptions): Promise<void> {
    const failures: string[] = [];
    for (const point of points) {
      for (const action of actions) {
        try {
          await this.#at(point, action, options);
        } catch (error) {
          failures.push(`${action} at "${point}": ${error instanceof Error ? error.message : String(error)}`);
          console.error(failures.at(-1));
          this.#faults.disarm();
          await this.#node.removePods([this.#bystander().podSandboxId]);
          await this.#node.remember();
        }
      }
    }
    assert.deepEqual(failures, []);
  }

  async #at(point: string, action: string, options: LifeOptions): Promise<void> {
    if (!(await this.#lifeWith(point, action, options))) {
      await this.#node.restart();
      assert.ok(await this.#lifeWith(point, action, options), 'the point was not passed');
    }
    assert.deepEqual(await this.#node.leaks(), [], 'it left something');
    await this.#bystander().isWell();
  }

  /** Whether the point was passed. A call may fail once, at the point. */
  async #lifeWith(point: string, action: string, options: LifeOptions): Promise<boolean> {
    const dies = action === 'kill';
    this.#faults.arm(action === 'kill-monitor' ? 'pause' : action, point);
    const life = new PodLife(this.#node, 'faulty', options);
    const monitor = action === 'kill-monitor' ? this.#killMonitor(life) : undefined;
    for (let failures = 0, restarted = false; life.next !== undefined;) {
      try {
        await this.#node.whileAlive(life.step());
      } catch (error) {
        if (!this.#faults.hit || ++failures > 1) throw error;
      }
      if (!dies || !this.#faults.hit || restarted) continue;
      await this.#node.ended('30 s of the point');
      await this.#node.start();
      restarted = true;
    }
    await monitor;
    return this.#faults.hit;
  }

  /** While the daemon stands still at its point: all monitors but the bystander's. */
  async #killMonitor(life: PodLife): Promise<void> {
    if (!(await this.#faults.paused(() => life.next === undefined))) return;
    await this.#node.exec(['sh', '-c', `kill -KILL $(pgrep -x conmon | grep -v -x ${this.#bystander().monitor})`]);
    this.#faults.resume();
  }
}
