import { socketPath } from './endpoint.ts';
import { CriConnection } from './connection.ts';
import { type ContainerTarget, type Target, targetsOf } from './select.ts';
import { services } from '../../wire/index.ts';

export { type CallOptions, CriConnection } from './connection.ts';
export { socketOption, socketPath } from './endpoint.ts';
export { imageSpecMember, ownMember } from './image-spec.ts';
export { inspectDaemon } from './inspect-api.ts';
export { pullImage } from './pull.ts';
export { type ContainerTarget, type PodTarget, type Target, fullName, select, selectContainer } from './select.ts';
export { type RunningOperation, type TimelineOperation, timelineOf } from './timeline.ts';
export { waitForExit } from './wait.ts';

/** The connection that `--socket` and the environment name. */
export function openConnection(option: string | undefined, env: Readonly<Record<string, string | undefined>>): CriConnection {
  return new CriConnection(socketPath(option, env));
}

/** All pods and containers that the runtime has now. */
export async function listTargets(cri: CriConnection): Promise<readonly Target[]> {
  const [pods, containers] = await Promise.all([
    cri.call(services.RuntimeService.ListPodSandbox, {}),
    cri.call(services.RuntimeService.ListContainers, {}),
  ]);
  return targetsOf(pods.items, containers.containers);
}

/** The containers of a pod. */
export function containersOfPod(podId: string, targets: readonly Target[]): readonly ContainerTarget[] {
  return targets.filter((target) => target.kind === 'container').filter((container) => container.podId === podId);
}
