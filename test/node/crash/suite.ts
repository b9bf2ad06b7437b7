import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NamespaceMode } from '../../../src/wire/index.ts';
import { FAULTY, moments } from '../../harness/faults.ts';
import { useNode } from '../../harness/node.ts';
import type { LifeOptions } from '../../harness/pod-life.ts';
import { Bystander, Crash } from './crash.ts';

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
      await crash.atEach(points, 'kill', options);
    });

    test(`${runtimeHandler}: ${which} step of the life of ${name} fails`, async () => {
      const begins = (await pointsOf()).filter((point) => point.startsWith('begin ') && isOwn(point));
      assert.ok(begins.length > 0);
      await crash.atEach(begins, 'fail', options);
    });

    test(`${runtimeHandler}: ${which} helper in the life of ${name} is killed when it has begun, and a little later`, async () => {
      const helpers = (await pointsOf()).filter((point) => point.startsWith('helper ') && isOwn(point));
      assert.ok(helpers.length > 0);
      await crash.atEach(helpers, 'kill-helper@0', options);
      await crash.atEach(helpers, 'kill-helper@4', options);
    });

    if (concerned !== undefined) continue;
    test(`[p09] ${runtimeHandler}: the monitor in the life of ${name} is killed at every step that it lives to see`, async () => {
      const points = moments(await crash.pointsOf(options));
      const from = points.indexOf('end CreateContainer/conmon and runtime create');
      const to = points.findIndex((point) => point.startsWith('begin StopContainer/'));
      assert.ok(from >= 0 && to > from);
      await crash.atEach(points.slice(from, to + 1), 'kill-monitor', options);
    });
  }
}
