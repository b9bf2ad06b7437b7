import assert from 'node:assert/strict';
import { ContainerState } from '../../../src/wire/index.ts';
import { Faults } from '../../harness/faults.ts';
import { BUSYBOX, type TestNode } from '../../harness/node.ts';
import { type LifeOptions, PodLife } from '../../harness/pod-life.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../../harness/pods.ts';
import { processesOf } from '../../harness/processes.ts';

export type Action = 'kill' | 'fail' | 'kill-helper@0' | 'kill-helper@4' | 'kill-monitor';

/** A pod that runs through it all. */
export class Bystander {
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

/** Lives of a pod in which something goes wrong at points of the daemon's steps. */
export class Crash {
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

  /**
   * Points that can share a life do, one after the other; where something is wrong then, each of them is tried alone, for what
   * goes wrong at one step often does at its neighbours, and that is telling. Goes on after a failure.
   */
  async atEach(points: readonly string[], action: Action, options: LifeOptions): Promise<void> {
    const failures: string[] = [];
    const judge = async (group: readonly string[]): Promise<Outcome> => {
      const outcome = await this.#at(group, action, options);
      if (outcome.error !== undefined) await this.#startAfresh();
      return outcome;
    };
    for (let left = [...points]; left.length > 0;) {
      const group = left.filter((point) => canShareLife(action, point));
      const { met, error } = await judge(group.length > 0 ? group : left.slice(0, 1));
      if (error !== undefined) {
        const alone: string[] = [];
        for (const point of met) alone.push(...described(action, point, (await judge([point])).error));
        failures.push(...(alone.length > 0 ? alone : described(action, met.join('", "'), error)));
        console.error(failures.at(-1));
      }
      left = left.filter((point) => !met.includes(point));
    }
    assert.deepEqual(failures, []);
  }

  async #startAfresh(): Promise<void> {
    this.#faults.disarm();
    await this.#node.removePods([this.#bystander().podSandboxId]);
    await this.#node.remember();
  }

  /** A life that meets at least one of the points, which come once in a daemon's life perhaps; what it left is its error. */
  async #at(points: readonly string[], action: Action, options: LifeOptions): Promise<Outcome> {
    const met: string[] = [];
    try {
      await this.#life(points, action, options, met);
      if (met.length === 0) {
        await this.#node.restart();
        await this.#life(points, action, options, met);
      }
      assert.ok(met.length > 0, 'the point was not passed');
      assert.deepEqual(await this.#node.leaks(), [], 'it left something');
      await this.#bystander().isWell();
      return { met, error: undefined };
    } catch (error) {
      return { met: met.length > 0 ? met : points.slice(0, 1), error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  /** Notes in `met` which of the points were passed: each is waited for when the one before has come. A call may fail once at each. */
  async #life(points: readonly string[], action: Action, options: LifeOptions, met: string[]): Promise<void> {
    const life = new PodLife(this.#node, 'faulty', options);
    const arm = (): string | undefined => {
      const next = points.find((point) => !met.includes(point) && life.isAhead(callOf(point)));
      if (next !== undefined) this.#faults.arm(action === 'kill-monitor' ? 'pause' : action, next);
      return next;
    };
    let armed = arm();
    const monitor = action === 'kill-monitor' ? this.#killMonitor(life) : undefined;
    while (life.next !== undefined) {
      try {
        await this.#node.whileAlive(life.step());
      } catch (error) {
        if (armed === undefined || !this.#faults.hit) throw error;
      }
      if (armed === undefined || !this.#faults.hit) continue;
      met.push(armed);
      if (action === 'kill') await this.#startAfterKill();
      armed = arm();
    }
    await monitor;
    this.#faults.disarm();
  }

  /** Of a pod that the new daemon does not know, nothing is left. */
  async #startAfterKill(): Promise<void> {
    await this.#node.ended('30 s of the point');
    await this.#node.start();
    const { items } = await this.#node.client.ListPodSandbox();
    if (items.every(({ id }) => id === this.#bystander().podSandboxId)) {
      assert.deepEqual(await this.#node.leaks(), [], 'it left something until the retry');
    }
  }

  /** While the daemon stands still at its point: all monitors but the bystander's. */
  async #killMonitor(life: PodLife): Promise<void> {
    if (!(await this.#faults.paused(() => life.next === undefined))) return;
    await this.#node.exec(['sh', '-c', `kill -KILL $(pgrep -x conmon | grep -v -x ${this.#bystander().monitor})`]);
    this.#faults.resume();
  }
}

interface Outcome {
  readonly met: readonly string[];
  readonly error: Error | undefined;
}

function described(action: Action, points: string, error: Error | undefined): string[] {
  return error === undefined ? [] : [`${action} at "${points}": ${error.message}`];
}

/** The start after a kill cleans up, also after the kill before: only where it shows at once what the first one left. */
function canShareLife(action: Action, point: string): boolean {
  return action === 'kill' ? callOf(point) === 'RunPodSandbox' : action !== 'kill-monitor';
}

/** The call in which `begin Operation/step` comes: a container exits while it is stopped. */
function callOf(point: string): string {
  const [operation = ''] = point.slice(point.indexOf(' ') + 1).split('/');
  return operation === 'Exit' ? 'StopContainer' : operation;
}
