import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { posix } from 'node:path';
import { Failure, textOf, wrap } from '../errors/index.ts';
import { NAMESPACE_KINDS, type NamespaceKind, type NamespaceRequest, type PinKind, unmountAll } from '../linux/index.ts';
import type { CniResult, PodNetwork } from '../network/index.ts';
import { type IdMappings, mapLines, mappedRoot, planSysctls } from '../oci/spec/index.ts';
import { holdUserNamespace, writeSysctlsInside } from '../process/index.ts';
import type { Progress } from '../containers/index.ts';
import { step } from '../steps/index.ts';
import type { UndoStack } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import type { SandboxPlan } from './plan.ts';

/** Pin files; `user` only for a pod with a user namespace of its own. */
export type Pins = Readonly<Record<NamespaceKind, string>> & { readonly user?: string | undefined };

/** `<namespaces_dir>/<kind>ns`, one uuid per pod [D64]. */
export function pinDirectory(namespacesDir: string, kind: PinKind): string {
  return posix.join(namespacesDir, `${kind}ns`);
}

/** Makes and pins the pod's namespaces with its sysctls in them; a sysctl that may not be set is skipped with a warning [D60–D66]. */
export async function pinNamespaces(
  ctx: PodContext,
  plan: SandboxPlan,
  idMappings: IdMappings | undefined,
  undo: UndoStack,
): Promise<ReadonlyMap<string, string>> {
  const host = plan.hostNamespaces;
  const { sysctls, warnings } = planSysctls({
    defaults: ctx.settings.defaultSysctls,
    requested: plan.config.linux?.sysctls ?? new Map(),
    hostNetwork: host.includes('net'),
    hostIpc: host.includes('ipc'),
    idMappings,
  });
  for (const warning of warnings) ctx.log.warn(`Pod ${plan.name}: ${warning}`);
  const { pins } = plan;
  const request = { pins, host, sysctls: [...sysctls] };
  try {
    if (idMappings === undefined || pins.user === undefined) await ctx.namespaces.create(request);
    else await pinOwned(ctx, request, pins.user, idMappings);
  } catch (error) {
    throw wrap(`failed to pin namespaces [${[...NAMESPACE_KINDS, ...(pins.user === undefined ? [] : ['user'])].join(' ')}]`, error);
  }
  undo.push(`remove namespaces ${pins.net}`, () => removePins(pins));
  return sysctls;
}

/** The pod's user namespace, and the others owned by it: its root may do in them what a node's root does in the node's [G92]. */
async function pinOwned(ctx: PodContext, request: NamespaceRequest, pin: string, idMappings: IdMappings): Promise<void> {
  const kinds = NAMESPACE_KINDS.filter((kind) => !request.host.includes(kind));
  const holder = await holdUserNamespace(kinds);
  try {
    const root = mappedRoot(idMappings) ?? { uid: 0, gid: 0 };
    const user = { pin, holder: holder.pid, uidMap: mapLines(idMappings.uids), gidMap: mapLines(idMappings.gids), root };
    await ctx.namespaces.create({ ...request, user, sysctls: [] });
    await writeSysctlsInside(holder.pid, kinds, request.sysctls);
  } catch (error) {
    await removePins({ ...request.pins, user: pin });
    throw error;
  } finally {
    await holder.end();
  }
}

/** Unmounts and deletes pin files; what is gone already is success [D99]. */
export async function removePins(pins: Readonly<Partial<Record<PinKind, string | undefined>>>): Promise<void> {
  await step('remove namespaces', () => removeEach(pins));
}

async function removeEach(pins: Readonly<Partial<Record<PinKind, string | undefined>>>): Promise<void> {
  const errors: string[] = [];
  for (const path of Object.values(pins)) {
    if (path === undefined) continue;
    try {
      unmountAll(path);
      await rm(path, { force: true });
    } catch (error) {
      errors.push(textOf(error));
    }
  }
  if (errors.length === 0) return;
  throw new Failure(
    'Unknown',
    `unable to remove managed namespaces: removing namespaces encountered the following errors [${errors.join(' ')}]`,
  );
}

async function attachNetwork(
  ctx: PodContext,
  plan: SandboxPlan,
  undo: UndoStack,
): Promise<{ ips: readonly string[]; result: CniResult; check: () => Promise<void> }> {
  const pod = podNetwork(plan);
  const { result, ips, check } = await ctx.network.attach(pod, { deferCheck: true });
  undo.push(`detach ${plan.id} from the network`, () => ctx.network.detach(pod));
  return { ips, result, check };
}

export interface Connection {
  readonly sysctls: ReadonlyMap<string, string>;
  readonly ips: readonly string[];
  readonly result: CniResult | undefined;
  /** Asks the plugins whether all is there; undefined where they made nothing. */
  readonly check: (() => Promise<void>) | undefined;
}

/** The network in the namespaces, once they are there: the half of a pod that needs no storage. */
export async function connect(
  ctx: PodContext,
  plan: SandboxPlan,
  namespaces: Promise<ReadonlyMap<string, string>>,
  undo: UndoStack,
  progress: Progress,
): Promise<Connection> {
  progress.enter('sandbox namespace creation');
  const sysctls = await namespaces;
  progress.enter('sandbox network creation');
  const attached = plan.hostNetwork
    ? { ips: [], result: undefined, check: undefined }
    : await step('network', () => attachNetwork(ctx, plan, undo));
  return { sysctls, ...attached };
}

/** The pod as the network sees it. */
export function podNetwork(plan: SandboxPlan): PodNetwork {
  const { id, metadata, annotations, portMappings, pins } = plan;
  return {
    id,
    name: metadata.name,
    namespace: metadata.namespace,
    uid: metadata.uid,
    sandboxName: plan.name,
    netnsPath: pins.net,
    cgroupParent: plan.config.linux?.cgroupParent ?? '',
    annotations,
    portMappings,
  };
}

/** Where a new pod's namespaces will be pinned. */
export function newPins(namespacesDir: string): Pins {
  const uuid = randomUUID();
  const pin = (kind: PinKind) => posix.join(pinDirectory(namespacesDir, kind), uuid);
  return { ipc: pin('ipc'), net: pin('net'), uts: pin('uts'), user: pin('user') };
}
