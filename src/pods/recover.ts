import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Intent, removeMonitorFiles } from '../containers/index.ts';
import { textOf } from '../errors/index.ts';
import { findProcesses } from '../linux/index.ts';
import type { PodNetwork } from '../network/index.ts';
import { removeInfraCgroup } from '../resources/index.ts';
import type { PodContext } from './context.ts';
import { type Pins, removePins } from './namespaces.ts';
import { removeShm } from './storage.ts';

/** What a sandbox's intent says besides its id. */
export interface SandboxIntent {
  readonly pins: Pins;
  /** undefined for a pod on the host's network. Maps are lists of pairs: it is JSON. */
  readonly network: (Omit<PodNetwork, 'annotations'> & { readonly annotations: readonly (readonly [string, string])[] }) | undefined;
  readonly infraCgroup: string | undefined;
}

/**
 * Undoes what a crash cut off in the middle of being made; the client never got an answer for it and asks again. First the
 * helpers that still work on it are ended, then each step's result is taken away; a step that had not happened is success.
 */
export async function undoHalfMade(ctx: PodContext): Promise<number> {
  const intents = await ctx.journal.open();
  if (intents.length === 0) return 0;
  endHelpers(new Set(intents.map((intent) => intent.id)));
  for (const intent of intents) {
    ctx.log.warn(`A crash cut off the creation of ${intent.kind} ${intent.id}: undoing it`);
    try {
      await undo(ctx, intent);
      await ctx.journal.forget(intent.id);
    } catch (error) {
      ctx.log.error(`Undoing the half-made ${intent.kind} ${intent.id} failed, the next start tries again: ${textOf(error)}`);
    }
  }
  return intents.length;
}

/** Monitors and CNI plugins that were started for it: whoever is left working would make anew what is being taken away. */
function endHelpers(ids: ReadonlySet<string>): void {
  for (const { pid } of findProcesses(ids, 'CNI_CONTAINERID')) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

async function undo(ctx: PodContext, intent: Intent): Promise<void> {
  const { id, runtimeHandler } = intent;
  await ctx.runtimes.get(runtimeHandler).delete(id);
  await removeMonitorFiles(ctx.containers, id);
  if (intent.kind === 'sandbox') await undoSandbox(ctx, intent);
  else if (intent.logPath !== '') await rm(intent.logPath, { force: true });
  await ctx.store.unmountContainer(id, true);
  await ctx.store.deleteContainer(id);
}

async function undoSandbox(ctx: PodContext, { id, sandbox }: Intent): Promise<void> {
  const { pins, network, infraCgroup } = sandbox as SandboxIntent;
  if (network !== undefined) await ctx.network.detach({ ...network, annotations: new Map(network.annotations) });
  await removePins(pins);
  await removeShm(join(ctx.store.containerRunDirectory(id), 'shm'));
  removeInfraCgroup(infraCgroup);
}
