import { posix } from 'node:path';
import { GO_ZERO_TIME, type Nanoseconds, nowNs, toRfc3339 } from '../clock/index.ts';
import { Container, removeMonitorFiles, stopContainer } from '../containers/index.ts';
import { writeFileAtomic } from '../files/index.ts';
import type { ContainerId } from '../ids/index.ts';
import { createUnderMonitor } from '../oci/monitor/index.ts';
import type { OciSpec } from '../oci/spec/index.ts';
import type { UndoStack } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import type { SandboxPlan } from './plan.ts';
import type { Sandbox } from './sandbox.ts';
import type { SandboxStorage } from './storage.ts';

/** state.json of an infra container that was dropped: never asked a runtime (docs/reference/cri-o-ondisk.md §5.3). */
export async function writeSpoofedState(runDirectory: string, createdAt: Nanoseconds): Promise<void> {
  const created = toRfc3339(createdAt);
  const json = {
    ociVersion: '',
    id: '',
    status: '',
    bundle: '',
    created,
    started: created,
    finished: GO_ZERO_TIME,
    checkpointedTime: GO_ZERO_TIME,
  };
  await writeFileAtomic(posix.join(runDirectory, 'state.json'), `${JSON.stringify(json)}\n`, { mode: 0o644, sync: false });
}

/** Creates and starts the pause container: it holds the PID namespace that the pod's containers share [D75, D79]. */
export async function startInfra(
  ctx: PodContext,
  plan: SandboxPlan,
  storage: SandboxStorage,
  spec: OciSpec,
  pod: Sandbox,
  undo: UndoStack,
): Promise<Container> {
  const { id, infraName, runtime } = plan;
  const container = infraContainer(plan, storage, spec, pod);
  using _ = await container.lock.acquire(); // One that ends at once: its exit is taken when it counts as running.
  ctx.containers.registry.addInfra(container);
  undo.push(`delete infra container ${id}`, async () => {
    await stopContainer(ctx.containers, container, 0);
    await runtime.delete(id);
    await removeMonitorFiles(ctx.containers, id, spec.linux.cgroupsPath);
    ctx.containers.registry.deleteInfra(container);
  });
  const processes = await createUnderMonitor(
    runtime.handler,
    {
      id,
      name: infraName,
      cgroupsPath: spec.linux.cgroupsPath ?? '',
      bundle: storage.runDirectory,
      persistDir: storage.directory,
      logPath: plan.logPath,
      tty: false,
      stdin: false,
      stdinOnce: false,
    },
    ctx.monitorSettings,
  );
  await container.become({ status: 'created' }, processes);
  ctx.containers.watch(container);
  await runtime.start(id);
  await container.become({ status: 'running', startedAt: nowNs() });
  return container;
}

function infraContainer(plan: SandboxPlan, storage: SandboxStorage, spec: OciSpec, pod: Sandbox): Container {
  const { image, directory, runDirectory } = storage;
  return new Container(
    {
      id: plan.id as string as ContainerId,
      name: plan.infraName,
      pod,
      metadata: { name: 'POD', attempt: plan.metadata.attempt },
      labels: plan.labels,
      annotations: plan.annotations,
      createdAt: plan.createdAt,
      image: { requested: image.someName ?? image.id, id: image.id, someName: image.someName ?? '', repoDigests: image.repoDigests },
      logPath: plan.logPath,
      mounts: [],
      tty: false,
      stdin: false,
      stdinOnce: false,
      privileged: plan.privileged,
      stopSignal: image.config.stopSignal,
      runtime: plan.runtime,
      spec,
      directory,
      runDirectory,
      stateDirectory: directory,
    },
    { state: { status: 'created' } },
  );
}
