import { writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { toRfc3339 } from '../clock/index.ts';
import { type OciSpec, buildSandboxSpec, encodeSpec } from '../oci/spec/index.ts';
import { parseCgroupParent, sandboxCgroupsPath } from '../resources/index.ts';
import { resolveSeccomp } from '../security/index.ts';
import type { NamespaceKind } from '../linux/index.ts';
import type { PodContext } from './context.ts';
import type { SandboxPlan } from './plan.ts';
import type { Connection } from './namespaces.ts';
import type { SandboxStorage } from './storage.ts';

/** What a request without a security context means [D32]. */
const RUNTIME_DEFAULT = { profileType: 0, localhostRef: '' };

/** The infra container's config.json: what CRI-O restores the pod from, process or not [D74–D78]. */
export async function buildSpec(
  ctx: PodContext,
  plan: SandboxPlan,
  storage: SandboxStorage,
  network: Connection,
): Promise<{ spec: OciSpec; cgroupsPath: string; warnings: readonly string[] }> {
  const cgroupParent = plan.config.linux?.cgroupParent ?? '';
  const cgroupsPath = sandboxCgroupsPath(ctx.settings.cgroupManager, cgroupParent, plan.id);
  const { handler } = plan.runtime;
  // The host's, too, where the pod has none of its own: whoever restores it finds a path [H22]. Only a runtime that is in the pod's user
  // namespace by then may not join what is not that one's.
  const mayNotJoin = storage.idMappings === undefined ? [] : plan.hostNamespaces;
  const joined = (kind: NamespaceKind) => (mayNotJoin.includes(kind) ? undefined : plan.pins[kind]);
  const security = plan.config.linux?.securityContext;
  const seccomp = await resolveSeccomp(
    {
      field: security === undefined ? RUNTIME_DEFAULT : security.seccomp,
      deprecated: security?.seccompProfilePath ?? '',
      privileged: plan.privileged,
      kind: 'sandbox',
    },
    ctx.seccomp(handler),
  );
  const { spec, warnings } = buildSandboxSpec({
    id: plan.id,
    name: plan.name,
    infraName: plan.infraName,
    config: plan.config,
    hostname: plan.hostname,
    logPath: plan.logPath,
    annotations: plan.annotations,
    labels: plan.labels,
    runtimeHandler: plan.runtimeHandler,
    privileged: plan.privileged,
    rootfs: storage.rootfs,
    resolvPath: storage.resolvPath,
    shmPath: storage.shmPath,
    hostnamePath: storage.hostnamePath,
    created: toRfc3339(plan.createdAt),
    pauseImage: ctx.settings.pauseImage,
    pause: storage.image.config,
    pauseCommand: ctx.settings.pauseCommand,
    namespaces: {
      network: joined('net'),
      ipc: joined('ipc'),
      uts: plan.pins.uts,
      user: plan.pins.user,
    },
    idMappings: storage.idMappings,
    cgroupParent: parseCgroupParent(ctx.settings.cgroupManager, cgroupParent),
    cgroupsPath,
    cniResult: network.result === undefined ? undefined : JSON.stringify(network.result),
    spoofed: plan.dropInfra,
    sysctls: network.sysctls,
    seccomp,
    processLabel: '',
    mountLabel: '',
    runtime: handler.features,
    host: ctx.host,
    settings: ctx.specSettings,
  });
  return { spec, cgroupsPath, warnings };
}

/** The same bytes in the persistent directory (what is restored) and in the run directory (the bundle) [D78]. */
export async function saveSpec(spec: OciSpec, where: { readonly directory: string; readonly runDirectory: string }): Promise<void> {
  const text = encodeSpec(spec);
  await Promise.all(
    [where.directory, where.runDirectory].map((directory) => writeFile(posix.join(directory, 'config.json'), text, { mode: 0o644 })),
  );
}
