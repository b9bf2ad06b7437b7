import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { posix } from 'node:path';
import { Failure, textOf, wrap } from '../errors/index.ts';
import { NAMESPACE_KINDS, type NamespaceKind, unmountAll } from '../linux/index.ts';
import type { CniResult, PodNetwork } from '../network/index.ts';
import { planSysctls } from '../oci/spec/index.ts';
import type { Progress } from '../containers/index.ts';
import { step } from '../steps/index.ts';
import type { UndoStack } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import type { SandboxPlan } from './plan.ts';

export type Pins = Readonly<Record<NamespaceKind, string>>;

/** `<namespaces_dir>/<kind>ns`, one uuid per pod [D64]. */
export function pinDirectory(namespacesDir: string, kind: NamespaceKind): string {
  return posix.join(namespacesDir, `${kind}ns`);
}

/** Makes and pins the pod's namespaces with its sysctls in them; a sysctl that may not be set is skipped with a warning [D60–D65]. */
async function pinNamespaces(ctx: PodContext, plan: SandboxPlan, undo: UndoStack): Promise<ReadonlyMap<string, string>> {
  const host = plan.hostNamespaces;
  const { sysctls, warnings } = planSysctls({
    defaults: ctx.settings.defaultSysctls,
    requested: plan.config.linux?.sysctls ?? new Map(),
    hostNetwork: host.includes('net'),
    hostIpc: host.includes('ipc'),
    idMappings: undefined,
  });
  for (const warning of warnings) ctx.log.warn(`Pod ${plan.name}: ${warning}`);
  const { pins } = plan;
  try {
    await ctx.namespaces.create({ pins, host, sysctls: [...sysctls] });
  } catch (error) {
    throw wrap(`failed to pin namespaces [${NAMESPACE_KINDS.join(' ')}]`, error);
  }
  undo.push(`remove namespaces ${pins.net}`, () => removePins(pins));
  return sysctls;
}

/** Unmounts and deletes pin files; what is gone already is success [D99]. */
export async function removePins(pins: Readonly<Partial<Record<NamespaceKind, string>>>): Promise<void> {
  await step('remove namespaces', () => removeEach(pins));
}

async function removeEach(pins: Readonly<Partial<Record<NamespaceKind, string>>>): Promise<void> {
  const errors: string[] = [];
  for (const path of Object.values(pins)) {
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
): Promise<{ ips: readonly string[]; result: CniResult; checked: Promise<void> }> {
  const pod = podNetwork(plan);
  const { result, ips, checked } = await ctx.network.attach(pod, { deferCheck: true });
  undo.push(`detach ${plan.id} from the network`, () => ctx.network.detach(pod));
  checked.catch(() => {}); // Whoever waits for it gets the error.
  return { ips, result, checked };
}

export interface Connection {
  readonly sysctls: ReadonlyMap<string, string>;
  readonly ips: readonly string[];
  readonly result: CniResult | undefined;
  /** Settles when the plugins have confirmed what they made. */
  readonly checked: Promise<void>;
}

/** Namespaces, then the network in them: the half of a pod that needs no storage. */
export async function connect(ctx: PodContext, plan: SandboxPlan, undo: UndoStack, progress: Progress): Promise<Connection> {
  progress.enter('sandbox namespace creation');
  const sysctls = await step('namespaces', () => pinNamespaces(ctx, plan, undo));
  progress.enter('sandbox network creation');
  const attached = plan.hostNetwork
    ? { ips: [], result: undefined, checked: Promise.resolve() }
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
  const pin = (kind: NamespaceKind) => posix.join(pinDirectory(namespacesDir, kind), uuid);
  return { ipc: pin('ipc'), net: pin('net'), uts: pin('uts') };
}
