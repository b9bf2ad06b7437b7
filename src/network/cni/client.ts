import { Failure, textOf, wrap } from '../../errors/index.ts';
import type { AttachmentCache, CachedAttachment } from './cache.ts';
import { PluginChain } from './chain.ts';
import type { NetworkConfig, PluginConfig } from './config.ts';
import type { Json } from './json.ts';
import { type Deadline, type Plugins, deadlineIn } from './plugins.ts';
import { type Attachment, type CniCommand, pluginInput, validateNames } from './request.ts';
import { type CniResult, asVersion, parseResult } from './result.ts';
import { atLeast } from './version.ts';

/** What each of the other plugins has at least when one failed in DEL. */
const AFTER_FAILURE_MS = 10_000;

/** What GC calls a valid attachment; a type, not an interface, so that it is JSON to the compiler. */
export type GcAttachment = { readonly containerID: string; readonly ifname: string };

/** The verbs of the CNI specification over a chain of plugins; knows no pods. */
export class CniClient {
  readonly #plugins: Plugins;
  readonly #cache: AttachmentCache;

  constructor(plugins: Plugins, cache: AttachmentCache) {
    this.#plugins = plugins;
    this.#cache = cache;
  }

  /** ADD down the chain, each plugin with the result of the one before [H33]; the attachment is in the cache afterwards. */
  async add(network: NetworkConfig, attachment: Attachment, deadline: Deadline): Promise<CniResult> {
    const [first] = network.plugins;
    if (first === undefined) throw new Failure('FailedPrecondition', 'no plugin configs found');
    try {
      validateNames(network.name, attachment.containerId);
    } catch (error) {
      throw wrap(`plugin ${pluginName(first)} failed (add)`, error);
    }
    await this.#cache.write(network.name, network.bytes, attachment, undefined);
    const result = await this.#addAll(network, first, attachment, deadline);
    try {
      await this.#cache.write(network.name, network.bytes, attachment, result);
    } catch (error) {
      throw wrap(`failed to set network ${JSON.stringify(network.name)} cached result`, error);
    }
    return result;
  }

  /**
   * CHECK of every plugin of the chain, for versions that have it, unless the list disables it [H38]. All at once: a CHECK
   * only looks, and none gets another's answer. The first in the chain that fails is the error.
   */
  async check(network: NetworkConfig, attachment: Attachment, result: CniResult | undefined, deadline: Deadline): Promise<void> {
    if (!atLeast(network.cniVersion, '0.4.0') || network.disableCheck) return;
    const prevResult = result === undefined ? undefined : asVersion(result, network.cniVersion);
    const checks = await Promise.allSettled(
      network.plugins.map(async (plugin) => {
        const stdin = pluginInput(network, plugin, { prevResult, capabilityArgs: attachment.capabilityArgs });
        await this.#plugins.execute(plugin.type, { command: 'CHECK', stdin, attachment, deadline });
      }),
    );
    const failed = checks.find((check) => check.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /**
   * DEL up the chain, with the cached result for versions that take it; then the cache entry goes [H49]. When a plugin fails, the
   * others are asked all the same, and after a hanging one for a few seconds more: nobody asks them again [H51]. The first
   * failure is the error.
   */
  async delete(network: NetworkConfig, attachment: Attachment, result: CniResult | undefined, deadline: Deadline): Promise<void> {
    const takesResult = atLeast(network.cniVersion, '0.4.0') && result !== undefined;
    const prevResult = takesResult ? asVersion(result, network.cniVersion) : undefined;
    const upwards = network.plugins.toReversed();
    await using chain = new PluginChain(this.#plugins, typesOf(upwards), { command: 'DEL', attachment, deadline });
    let failure: Failure | undefined;
    for (const plugin of upwards) {
      const stdin = pluginInput(network, plugin, { prevResult, capabilityArgs: attachment.capabilityArgs });
      try {
        if (failure === undefined) await chain.next(stdin);
        else
          await this.#plugins.execute(plugin.type, { command: 'DEL', stdin, attachment, deadline: atLeastIn(AFTER_FAILURE_MS, deadline) });
      } catch (error) {
        failure ??= wrap(`plugin ${pluginName(plugin)} failed (delete)`, error);
        if (deadline.signal?.aborted === true) break;
      }
    }
    if (failure !== undefined) throw failure;
    await this.#cache.remove(network.name, attachment);
  }

  /** STATUS of a network from CNI 1.1 on; the first plugin that is not ready fails, with its own words [H14]. */
  async status(network: NetworkConfig, deadline: Deadline): Promise<void> {
    if (!atLeast(network.cniVersion, '1.1.0')) return;
    for (const plugin of network.plugins) await this.#ask(network, plugin, 'STATUS', undefined, deadline);
  }

  /** DEL for each of `stale`, then GC from CNI 1.1 on [H56]. Tries everything; answers what failed. */
  async collect(
    network: NetworkConfig,
    stale: readonly CachedAttachment[],
    valid: readonly GcAttachment[],
    deadline: Deadline,
  ): Promise<readonly string[]> {
    const failures: string[] = [];
    for (const attachment of stale) {
      try {
        await this.delete(network, attachment, attachment.result, deadline);
      } catch (error) {
        failures.push(`failed to delete stale attachment ${attachment.containerId} ${attachment.ifName}: ${textOf(error)}`);
      }
    }
    if (!atLeast(network.cniVersion, '1.1.0')) return failures;
    for (const plugin of network.plugins) {
      try {
        await this.#ask(network, plugin, 'GC', valid, deadline);
      } catch (error) {
        failures.push(`failed to GC plugin ${plugin.type}: ${textOf(error)}`);
      }
    }
    return failures;
  }

  async #addAll(network: NetworkConfig, first: PluginConfig, attachment: Attachment, deadline: Deadline): Promise<CniResult> {
    await using chain = new PluginChain(this.#plugins, typesOf(network.plugins), { command: 'ADD', attachment, deadline });
    const addOne = async (plugin: PluginConfig, prevResult: CniResult | undefined) => {
      try {
        const output = await chain.next(pluginInput(network, plugin, { prevResult, capabilityArgs: attachment.capabilityArgs }));
        return parseResult(output, network.cniVersion);
      } catch (error) {
        throw wrap(`plugin ${pluginName(plugin)} failed (add)`, error);
      }
    };
    let result = await addOne(first, undefined);
    for (const plugin of network.plugins.slice(1)) result = await addOne(plugin, result);
    return result;
  }

  async #ask(
    network: NetworkConfig,
    plugin: PluginConfig,
    command: CniCommand,
    attachments: Json | undefined,
    deadline: Deadline,
  ): Promise<void> {
    const stdin = pluginInput(network, plugin, attachments === undefined ? {} : { attachments });
    await this.#plugins.execute(plugin.type, { command, stdin, deadline });
  }
}

function atLeastIn(ms: number, deadline: Deadline): Deadline {
  const least = deadlineIn(ms, deadline.signal);
  return least.at > deadline.at ? least : deadline;
}

function typesOf(plugins: readonly PluginConfig[]): readonly string[] {
  return plugins.map(({ type }) => type);
}

function pluginName(plugin: PluginConfig): string {
  const name = plugin.name === '' ? '' : ` name=${JSON.stringify(plugin.name)}`;
  return `type=${JSON.stringify(plugin.type)}${name}`;
}
