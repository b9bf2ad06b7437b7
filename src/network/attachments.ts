import { Failure, kindOf, textOf, wrap } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import type { AttachmentCache, CachedAttachment } from './cni/cache.ts';
import type { CniClient, GcAttachment } from './cni/client.ts';
import { type NetworkConfig, parseNetworkList, parseSinglePlugin } from './cni/config.ts';
import type { JsonObject } from './cni/json.ts';
import { namespaceAt, pathOfAttached, resultFromInside } from './cni/namespace.ts';
import type { Deadline } from './cni/plugins.ts';
import type { NetworkRegistry } from './cni/registry.ts';
import { type Attachment, podArgs } from './cni/request.ts';
import type { CniResult } from './cni/result.ts';
import { type PodNetwork, fullName } from './pod.ts';

/** The interface that the one network of a pod gets [H27]. */
const IF_NAME = 'eth0';

export interface Attached {
  readonly network: NetworkConfig;
  readonly attachment: Attachment;
  readonly result: CniResult | undefined;
}

export interface PodAttachmentsOptions {
  readonly client: CniClient;
  readonly cache: AttachmentCache;
  readonly registry: NetworkRegistry;
  /** As configured: quoted in texts. */
  readonly networkDir: string;
  /** What plugins inherit, with the daemon's own CNI_ARGS. */
  readonly environment: Readonly<Record<string, string>>;
  readonly log: Logger;
}

/** What a pod is to CNI: one attachment to the default network, remembered in the cache. Locks are the caller's. */
export class PodAttachments {
  readonly #o: PodAttachmentsOptions;

  constructor(o: PodAttachmentsOptions) {
    this.#o = o;
  }

  /** The default network; looks once more at the directory before it says that there is none. */
  async defaultNetwork(): Promise<NetworkConfig> {
    if (this.#o.registry.default() === undefined) await this.#o.registry.reload();
    return this.requireDefault();
  }

  /** The default network as loaded; fails with the reason of NetworkReady when there is none [H14]: it names files that cannot be used (needs p32). */
  requireDefault(): NetworkConfig {
    const { registry, networkDir } = this.#o;
    const found = registry.default();
    if (found !== undefined) return found.config;
    const rejected = registry.rejected().map(({ file, reason }) => `${file}: ${reason}`);
    const why = rejected.length === 0 ? '' : ` (rejected: ${rejected.join('; ')})`;
    throw new Failure('Unknown', `no CNI configuration file in ${networkDir}. Has your network provider started?${why}`, {
      advice: `Put a CNI configuration into ${networkDir} whose plugins are installed in plugin_dirs.`,
    });
  }

  async add(network: NetworkConfig, pod: PodNetwork, capabilities: JsonObject, deadline: Deadline): Promise<Attached> {
    const attachment = await this.#attachmentOf(pod, capabilities);
    this.#o.log.info(`Adding pod ${fullName(pod)} to CNI network ${JSON.stringify(network.name)} (type=${network.plugins[0]?.type ?? ''})`);
    try {
      return { network, attachment, result: await this.#o.client.add(network, attachment, deadline) };
    } catch (error) {
      throw wrap(`error adding pod ${fullName(pod)} to CNI network ${JSON.stringify(network.name)}`, error);
    }
  }

  async check(pod: PodNetwork, { network, attachment, result }: Attached, deadline: Deadline): Promise<void> {
    try {
      await this.#o.client.check(network, attachment, result, deadline);
    } catch (error) {
      throw wrap(`error checking pod ${fullName(pod)} for CNI network ${JSON.stringify(network.name)}`, error);
    }
  }

  /** DEL of everything that the cache knows of the pod, else of the default network [H49]. */
  async delete(pod: PodNetwork, deadline: Deadline): Promise<void> {
    for (const { network, attachment, result } of await this.of(pod)) {
      this.#o.log.info(
        `Deleting pod ${fullName(pod)} from CNI network ${JSON.stringify(network.name)} (type=${network.plugins[0]?.type ?? 'unknown'})`,
      );
      const remove = () => this.#o.client.delete(network, attachment, result, deadline);
      try {
        // Once more: what fails twice loses its cached attachment, and with it whatever could find what the plugins have left.
        await remove().catch(async (error: unknown) => {
          if (deadline.signal?.aborted === true || kindOf(error) === 'DeadlineExceeded') throw error;
          this.#o.log.info(`Deleting pod ${fullName(pod)} once more: ${textOf(error)}`);
          await remove();
        });
      } catch (error) {
        throw wrap(`error removing pod ${fullName(pod)} from CNI network ${JSON.stringify(network.name)}`, error);
      }
    }
  }

  /** The pod's attachments as they were made: cached configuration, arguments and result come before today's. */
  async of(pod: PodNetwork): Promise<readonly Attached[]> {
    const cached = await this.#o.cache.list(pod.id);
    if (cached.length === 0)
      return [{ network: await this.defaultNetwork(), attachment: await this.#attachmentOf(pod, {}), result: undefined }];
    return await Promise.all(
      cached.map(async (one) => ({
        network: this.#networkOf(one),
        attachment: {
          ...one,
          netns: await pathOfAttached({ netns: pod.netnsPath ?? '', netnsId: one.netnsId }),
          args: one.args.length > 0 ? one.args : podArgs(pod, this.#o.environment['CNI_ARGS']),
        },
        result: one.result,
      })),
    );
  }

  /** The cached result, or what an old attachment's interface shows [H38, H39]. */
  async resultOf({ attachment, result }: Attached, deadline: Deadline): Promise<CniResult> {
    return result ?? (await resultFromInside(attachment.netns, attachment.ifName, this.#o.environment, deadline));
  }

  /** What is at the path of a pod's namespace: its own, one that is not the one it was attached in, nothing, or none [H50]. */
  async namespaceOf(path: string, pod: PodNetwork): Promise<'own' | 'foreign' | 'missing' | 'other'> {
    const found = await namespaceAt(path);
    if (found.kind !== 'namespace') return found.kind;
    const noted = (await this.#o.cache.list(pod.id)).filter((one) => one.netnsId !== '');
    return noted.every((one) => one.netnsId === found.id) ? 'own' : 'foreign';
  }

  /**
   * Garbage of every known network whose list allows it [H56]. What a valid pod has is kept, whichever network it is
   * on (CRI-O would take pods off a network that is no longer the default one), and so is what no pod made: others
   * share the cache. Answers the ids whose attachments were stale.
   */
  async collect(valid: readonly PodNetwork[], deadline: Deadline): Promise<ReadonlySet<string>> {
    const { cache, registry, client, log } = this.#o;
    const ids = new Set<string>(valid.map((pod) => pod.id));
    const cached = await cache.list();
    const collected = new Set<string>();
    for (const { config: network } of registry.all()) {
      if (network.disableGc) continue;
      const here = cached.filter((one) => one.network === network.name);
      const stale: CachedAttachment[] = [];
      for (const one of here) {
        if (ids.has(one.containerId) || !one.args.some(([key]) => key === 'K8S_POD_INFRA_CONTAINER_ID')) continue;
        stale.push({ ...one, netns: await pathOfAttached(one) });
        collected.add(one.containerId);
      }
      const failures = await client.collect(network, stale, this.#validOn(network, here, valid, ids), deadline);
      if (failures.length > 0) log.warn(`Error while GCing network ${network.name}: ${failures.join('\n')}`);
    }
    return collected;
  }

  #validOn(
    network: NetworkConfig,
    here: readonly CachedAttachment[],
    valid: readonly PodNetwork[],
    ids: ReadonlySet<string>,
  ): readonly GcAttachment[] {
    const kept = here
      .filter((one) => ids.has(one.containerId))
      .map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName }));
    if (network.name !== this.#o.registry.defaultName) return kept;
    const known = new Set(kept.map((one) => one.containerID));
    return [...kept, ...valid.filter((pod) => !known.has(pod.id)).map((pod) => ({ containerID: pod.id, ifname: IF_NAME }))];
  }

  async #attachmentOf(pod: PodNetwork, capabilities: JsonObject): Promise<Attachment> {
    const args = podArgs(pod, this.#o.environment['CNI_ARGS']);
    const netns = pod.netnsPath ?? '';
    const found = netns === '' ? undefined : await namespaceAt(netns);
    const netnsId = found?.kind === 'namespace' ? found.id : '';
    return { containerId: pod.id, netns, netnsId, ifName: IF_NAME, args, capabilityArgs: capabilities };
  }

  #networkOf(cached: CachedAttachment): NetworkConfig {
    try {
      const list = parseNetworkList(cached.config);
      const network = list.plugins.length > 0 ? list : parseSinglePlugin(cached.config);
      return { ...network, name: cached.network };
    } catch (error) {
      this.#o.log.error(`Error loading cached network config: ${textOf(error)}`);
      this.#o.log.warn('Falling back to loading from existing plugins on disk');
      const loaded = this.#o.registry.byName(cached.network);
      if (loaded === undefined) throw new Failure('Unknown', `failed to find requested network name ${cached.network}`);
      return loaded.config;
    }
  }
}
