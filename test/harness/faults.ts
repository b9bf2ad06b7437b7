import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { processStat } from '../../src/linux/index.ts';
import { CHECK_NETWORK } from '../../src/pods/index.ts';
import { TURN } from '../../src/steps/index.ts';
import type { TestNode } from './node.ts';

/** Where a daemon that was started with it looks for what is to happen at which point (src/steps/faults.ts). */
const DIRECTORY = '/var/log/faults';
/** For `useNode`: the node that `Faults` works on. */
export const FAULTY = { env: { CRIO_TEST_FAULTS: DIRECTORY }, files: { [`${DIRECTORY}/passed`]: '' } };

/** The points of a daemon's steps, as `begin RunPodSandbox/storage/mount`, and what happens at one of them. */
export class Faults {
  readonly #node: TestNode;

  constructor(node: TestNode) {
    this.#node = node;
  }

  /** Every point that `work` passes, once each, in order; who waits for his turn has done nothing yet, and what comes by the clock belongs to no life. */
  async pointsOf(work: () => Promise<unknown>): Promise<string[]> {
    writeFileSync(this.#path('passed'), '');
    await work();
    const points = [...new Set(readFileSync(this.#path('passed'), 'utf8').split('\n').filter(Boolean))];
    return points.filter((point) => !point.endsWith(`/${TURN}`) && !split(point)[1].startsWith(`${CHECK_NETWORK}/`));
  }

  /** What happens when the point is passed next. */
  arm(action: string, point: string): void {
    writeFileSync(this.#path('at'), `${action} ${point}`);
  }

  /** Whether the point was passed since. */
  get hit(): boolean {
    return !existsSync(this.#path('at'));
  }

  disarm(): void {
    if (!this.hit) writeFileSync(this.#path('at'), '');
  }

  /** Waits until the daemon stands still at a point that was armed with `pause`; false when `isOver` before that. */
  async paused(isOver: () => boolean): Promise<boolean> {
    while (processStat(this.#node.daemonPid)?.state !== 'T') {
      if (isOver()) return false;
      await delay(10);
    }
    return true;
  }

  resume(): void {
    this.#node.resume();
  }

  #path(name: string): string {
    return this.#node.path(`${DIRECTORY}/${name}`);
  }
}

/** Where a step ends and its neighbour begins, or a step and its first or last inner step, there are two points and one moment. */
export function moments(points: readonly string[]): string[] {
  return points.filter((point, at) => {
    const [kind, path] = split(point);
    const [kindBefore, pathBefore] = split(points[at - 1] ?? '');
    const parent = dirname(path);
    const followsSibling = kind === 'begin' && kindBefore === 'end' && dirname(pathBefore) === parent;
    const entersParent = kind === 'begin' && kindBefore === 'begin' && pathBefore === parent;
    const leavesChild = kind === 'end' && kindBefore === 'end' && dirname(pathBefore) === path;
    return !followsSibling && !entersParent && !leavesChild;
  });
}

function split(point: string): [string, string] {
  const at = point.indexOf(' ');
  return [point.slice(0, at), point.slice(at + 1)];
}
