import { toRfc3339 } from '../../clock/index.ts';
import { resolveDevices } from '../../oci/host/index.ts';
import { resolveMounts } from '../../oci/rootfs/index.ts';
import {
  type ContainerConfig,
  type ImageFacts,
  NamespaceMode,
  type OciSpec,
  annotationValue,
  buildContainerSpec,
} from '../../oci/spec/index.ts';
import { containerCgroupsPath } from '../../resources/index.ts';
import { resolveSeccomp } from '../../security/index.ts';
import { Failure } from '../../errors/index.ts';
import { allEnded } from '../../sync/index.ts';
import { initIsAlive } from '../liveness.ts';
import type { CreationContext, PodForCreation } from './context.ts';
import type { Storage } from './image.ts';
import { resolveImageMount } from './image-mount.ts';
import { prepareRootfs } from './rootfs.ts';
import type { Work } from './work.ts';

/** Looks at everything that the spec depends on, then generates it: planning is pure, looking is here. */
export async function planSpec(
  ctx: CreationContext,
  pod: PodForCreation,
  config: ContainerConfig,
  storage: Storage,
  logPath: string,
  work: Work,
): Promise<{ spec: OciSpec; warnings: readonly string[] }> {
  const image = imageFacts(storage);
  const { handler } = pod.runtime;
  const security = config.linux?.securityContext;
  const [mounts, devices, seccomp] = await allEnded([
    resolve(ctx, pod, config, storage, work),
    resolveDevices({
      additional: ctx.settings.additionalDevices,
      annotation: annotationValue(pod.specFacts.annotations, 'devices.crio.io'),
      allowed: ctx.settings.allowedDevices,
      privileged: security?.privileged === true,
      withoutHostDevices: handler.privilegedWithoutHostDevices,
      requested: config.devices,
      owner: deviceOwner(ctx, config),
    }),
    resolveSeccomp(
      {
        field: security?.seccomp,
        deprecated: security?.seccompProfilePath ?? '',
        privileged: security?.privileged === true,
        kind: 'container',
      },
      ctx.seccomp(handler),
    ),
  ]);
  const rootfs = await prepareRootfs(ctx, pod, config, image, storage, mounts, work.undo);
  const { spec, warnings } = buildContainerSpec({
    id: storage.id,
    name: storage.name,
    created: toRfc3339(storage.createdAt),
    config,
    image,
    rootfs: storage.rootfs,
    logPath,
    user: rootfs.user,
    userFiles: rootfs.userFiles,
    volumes: rootfs.volumes,
    lateMounts: rootfs.lateMounts,
    mounts,
    devices,
    seccomp,
    sandbox: pod.specFacts,
    cgroupsPath: containerCgroupsPath(ctx.settings.cgroupManager, pod.specFacts.cgroupParent, storage.id),
    apparmorProfile: '',
    processLabel: '',
    mountLabel: '',
    platformRuntimePath: platformRuntimePath(pod, storage),
    targetPidNamespace: targetPidNamespace(ctx, config),
    handler,
    minMemory: handler.minMemory,
    runtime: handler.features,
    host: ctx.host,
    settings: ctx.specSettings,
  });
  return { spec, warnings: [...mounts.warnings, ...rootfs.warnings, ...warnings] };
}

/** Empty where images of its platform have no runtime of their own [K19]. */
function platformRuntimePath({ runtime }: PodForCreation, { image }: Storage): string {
  const path = runtime.pathFor(image.config.os, image.config.architecture);
  return path === runtime.handler.path ? '' : path;
}

/** [G83] */
function deviceOwner(ctx: CreationContext, config: ContainerConfig): { readonly uid: number; readonly gid: number } | undefined {
  if (!ctx.settings.deviceOwnershipFromSecurityContext) return undefined;
  const security = config.linux?.securityContext;
  return { uid: Number(security?.runAsUser?.value ?? 0n), gid: Number(security?.runAsGroup?.value ?? 0n) };
}

function imageFacts({ image }: Storage): ImageFacts {
  const { entrypoint, cmd, env, workingDir, user, stopSignal } = image.config;
  return {
    id: image.id,
    someName: image.someName ?? '',
    repoDigests: image.repoDigests,
    entrypoint,
    cmd,
    env,
    workingDir,
    user,
    stopSignal,
  };
}

/** PID namespace of another container [F59, F60]: the full id of one that runs in this node. */
function targetPidNamespace(ctx: CreationContext, config: ContainerConfig): string | undefined {
  const options = config.linux?.securityContext?.namespaceOptions;
  if (options?.pid !== NamespaceMode.TARGET) return undefined;
  const target = ctx.containers.registry.get(options.targetId);
  if (target === undefined) throw new Failure('InvalidArgument', 'target PID namespace specified with invalid target ID');
  if (!initIsAlive(target)) throw new Failure('FailedPrecondition', `target PID namespace find PID: container ${target.id} is not running`);
  return `/proc/${target.init?.pid}/ns/pid`;
}

async function resolve(ctx: CreationContext, pod: PodForCreation, config: ContainerConfig, storage: Storage, work: Work) {
  return await resolveMounts({
    mounts: config.mounts,
    prefix: ctx.settings.bindMountPrefix,
    rejectedIfAbsent: ctx.settings.absentMountSourcesToReject,
    storageRoot: ctx.store.graphRoot,
    runtime: pod.runtime.handler.features,
    makeMissing: true,
    resolveImage: async (mount) => await resolveImageMount(ctx, mount, pod.specFacts.namespaces.user, storage, work),
    undo: work.undo,
  });
}
