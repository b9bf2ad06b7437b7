import { services } from '../../wire/index.ts';
import { type CriConnection, type Target, containersOfPod } from '../client/index.ts';

/** What the kubelet gives a pod that says nothing. */
export const DEFAULT_GRACE_SECONDS = 30;
const GRACE_ANNOTATION = 'io.kubernetes.pod.terminationGracePeriod';
/** Above the grace period: the runtime kills after it, and then needs a moment. */
const KILL_MS = 60_000;

/** Stops a container, or a pod with all its containers; `seconds` undefined: as the pod's manifest says. */
export async function stopTarget(
  cri: CriConnection,
  target: Target,
  targets: readonly Target[],
  seconds: number | undefined,
): Promise<void> {
  const containers = target.kind === 'container' ? [target] : containersOfPod(target.id, targets).filter((container) => container.live);
  await Promise.all(
    containers.map(async ({ id, item }) => {
      const said = item.annotations.get(GRACE_ANNOTATION) ?? '';
      const grace = seconds ?? (/^\d{1,9}$/.test(said) ? Number(said) : DEFAULT_GRACE_SECONDS);
      await cri.call(
        services.RuntimeService.StopContainer,
        { containerId: id, timeout: BigInt(grace) },
        { deadlineMs: grace * 1000 + KILL_MS },
      );
    }),
  );
  if (target.kind === 'pod') await cri.call(services.RuntimeService.StopPodSandbox, { podSandboxId: target.id });
}
