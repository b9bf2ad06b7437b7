import { rm } from 'node:fs/promises';
import { Failure, textOf, wrap } from '../errors/index.ts';
import { unmountAll } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import { KeyedMutex, type Outstanding, Retries, SharedMutex } from '../sync/index.ts';
import { type Attached, PodAttachments } from './attachments.ts';
import { AttachmentCache } from './cni/cache.ts';
import { CniClient } from './cni/client.ts';
import { type Json, goJson } from './cni/json.ts';
import { bringLoopbackUp } from './cni/namespace.ts';
import { type Deadline, Plugins, deadlineIn } from './cni/plugins.ts';
import { NetworkRegistry } from './cni/registry.ts';
import { capabilityArgs, inheritedEnvironment } from './cni/request.ts';
import { type CniResult, addressesOf, asVersion, toJson } from './cni/result.ts';
import { CNI_VERSION } from './cni/version.ts';
import { type HostPortManager, noHostPorts, openHostPorts } from './hostport/index.ts';
import { type NetworkSettings, type PodNetwork, described, fullName } from './pod.ts';
import { type NetworkStatus, Readiness } from './readiness.ts';

/** ADD has 5 minutes and what is left of the request's deadline [D67]; DEL one [D102]; garbage 30 s [H55]. */
const ATTACH_MS = 5 * 60_000;
const DETACH_MS = 60_000;
const COLLECT_MS = 30_000;
const STATUS_MS = 60_000;

export interface NetworkServiceOptions {
  readonly settings: NetworkSettings;
  readonly log: Logger;
  /** Told how long the parts of an attach took, in milliseconds [H80]. */
  readonly observe?: (operation: 'network_setup_pod' | 'network_setup_overall', ms: number) => void;
}

export interface AttachOptions {
  /** Ends a running plugin. Not the client's: its going does not stop a set-up [D67]. */
  readonly signal?: AbortSignal;
  /** What is left of the request's deadline; added to the five minutes. */
  readonly remainingMs?: number;
  /** Answer after ADD and host ports; CHECK is left to the caller. Default: it is part of the answer. */
  readonly deferCheck?: boolean;
}

export interface AttachedPod {
  /** In the form of CNI 1.1, members in CRI-O's order: `JSON.stringify` is the annotation's text [D70, H43]. */
  readonly result: CniResult;
  readonly ips: string[];
  /** CHECK, for who deferred it: fails when the network is not as ADD left it, or the pod was detached meanwhile. */
  readonly check: () => Promise<void>;
}

/** The pods' network: CNI, host ports, readiness. Survives a restart by what is in the cache and the kernel. */
export class NetworkService {
  readonly #settings: NetworkSettings;
  readonly #log: Logger;
  readonly #observe: NonNullable<NetworkServiceOptions['observe']>;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #cache: AttachmentCache;
  readonly #registry: NetworkRegistry;
  readonly #attachments: PodAttachments;
  readonly #readiness: Readiness;
  /** Serial for one pod, in parallel for different ones; garbage collection excludes both [H37]. */
  readonly #pods = new KeyedMutex<string>();
  readonly #collecting = new SharedMutex();
  readonly #stuck = new Retries();
  #hostPorts: HostPortManager = noHostPorts;
  #garbageAfter: readonly PodNetwork[] | undefined;

  constructor({ settings, log, observe }: NetworkServiceOptions) {
    this.#settings = settings;
    this.#log = log;
    this.#observe = observe ?? (() => {});
    this.#environment = inheritedEnvironment(settings.environment);
    const plugins = new Plugins({ dirs: settings.pluginDirs, environment: this.#environment, log });
    const cache = (this.#cache = new AttachmentCache(settings.cacheDir ?? '/var/lib/cni', log));
    const client = new CniClient(plugins, cache);
    const { networkDir, pluginDirs, defaultNetwork } = settings;
    const onLoaded = () => void this.#readiness.changed();
    const registry = (this.#registry = new NetworkRegistry({ networkDir, pluginDirs, defaultNetwork, plugins, log, onLoaded }));
    this.#attachments = new PodAttachments({ client, cache, registry, networkDir, environment: this.#environment, log });
    this.#readiness = new Readiness({
      ask: async () => {
        await registry.recheck();
        await client.status(this.#attachments.requireDefault(), deadlineIn(STATUS_MS));
      },
      graceMs: settings.statusGraceMs,
      log,
      onFirstReady: () => this.#collectDeferred(),
    });
  }

  /** Loads and watches the configuration. Fails when host ports are wanted and the host has neither nft nor iptables [H62]. */
  async start(): Promise<void> {
    await this.#cache.sweep();
    const { disableHostPortMapping } = this.#settings;
    if (disableHostPortMapping) this.#log.info('HostPort Mapping is Disabled in CRI-O');
    const [hostPorts] = await Promise.all([
      disableHostPortMapping ? noHostPorts : openHostPorts(this.#environment, this.#log),
      this.#registry.start(),
    ]);
    this.#hostPorts = hostPorts;
    this.#readiness.start();
  }

  /** Whoever waits for the network fails [H20]; running plugins go on to their end. */
  async stop(): Promise<void> {
    this.#readiness.stop();
    await this.#registry.stop();
    await this.#stuck.stop();
  }

  /** What could not be taken down so far. */
  debris(): Outstanding[] {
    return this.#stuck.list();
  }

  /** For NetworkReady [H16]. Looks, in the background, for a configuration that no event told of (needs p32). */
  status(): NetworkStatus {
    void this.#registry.recheck();
    return this.#readiness.status();
  }

  /** Files in network_dir that cannot be used, and why. */
  rejectedFiles(): readonly { readonly file: string; readonly reason: string }[] {
    return this.#registry.rejected();
  }

  async whenReady(signal?: AbortSignal): Promise<void> {
    await this.#readiness.whenReady(signal);
  }

  /**
   * Puts a pod on the default network and opens its host ports [H26]. Fails with CRI-O's texts after taking down
   * what it had set up [D69, H41].
   */
  async attach(pod: PodNetwork, options: AttachOptions = {}): Promise<AttachedPod> {
    const started = performance.now();
    const capabilities = capabilityArgs(pod);
    if (pod.netnsPath === undefined) throw new Failure('Internal', `pod sandbox ${described(pod)} has no network namespace to attach`);
    const deadline = deadlineIn(ATTACH_MS + (options.remainingMs ?? 0), options.signal);
    using _collecting = await this.#collecting.shared();
    using _pod = await this.#pods.acquire(fullName(pod));
    let checking: Promise<void> | undefined;
    try {
      void this.#hostPorts.prepare(ownerOf(pod));
      const attached = await this.#add(pod, pod.netnsPath, capabilities, deadline);
      const result = current(attached.result);
      const ips = addressesOf(result);
      checking = options.deferCheck === true ? undefined : this.#check(pod, attached, deadline);
      const [opened, checked] = await Promise.allSettled([this.#openHostPorts(pod, ips), checking]);
      for (const outcome of [checked, opened]) if (outcome.status === 'rejected') throw outcome.reason;
      this.#observe('network_setup_overall', performance.now() - started);
      return { result, ips, check: () => this.#checkLater(pod, attached) };
    } catch (error) {
      await checking?.catch(() => {}); // No plugin may still look at what is taken down now.
      this.#log.info(`NetworkStart: stopping network for sandbox ${pod.id}`);
      await this.#takeDown(pod, deadlineIn(DETACH_MS)).catch((failure: unknown) => {
        this.#log.error(`Error stopping network on cleanup: ${textOf(failure)}`);
      });
      throw error;
    }
  }

  /**
   * Takes a pod off its network: host ports, then CNI DEL [D102]. May be repeated. When DEL fails although the
   * namespace is there, namespace pin and cache files are removed and this fails once [D104]: the network counts as
   * stopped either way, and the next call succeeds.
   */
  async detach(pod: PodNetwork, signal?: AbortSignal): Promise<void> {
    using _collecting = await this.#collecting.shared();
    using _pod = await this.#pods.acquire(fullName(pod));
    await this.#takeDown(pod, deadlineIn(DETACH_MS, signal));
  }

  /** The addresses of a pod that a former daemon attached: CHECK, then the cached result [H38, H58]. */
  async ipsOf(pod: PodNetwork): Promise<string[]> {
    const deadline = deadlineIn(DETACH_MS);
    using _ = await this.#pods.acquire(fullName(pod));
    try {
      const ips: string[] = [];
      for (const attached of await this.#attachments.of(pod)) {
        await this.#attachments.check(pod, attached, deadline);
        ips.push(...addressesOf(await this.#attachments.resultOf(attached, deadline)));
      }
      return ips;
    } catch (error) {
      throw wrap(`failed to get network status for pod sandbox ${described(pod)}`, error);
    }
  }

  /** The addresses that pods were given, as the cache has them: nothing is asked. */
  async knownIps(pods: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
    const wanted = new Set(pods);
    const ips = new Map<string, string[]>();
    for (const { containerId, result } of wanted.size === 0 ? [] : await this.#cache.list()) {
      if (wanted.has(containerId) && result !== undefined) ips.set(containerId, [...(ips.get(containerId) ?? []), ...addressesOf(result)]);
    }
    return ips;
  }

  /** What the cache knows of a pod that nothing else tells of any more: the pin of its network namespace, the parent of its cgroups. */
  async remembered(pod: string): Promise<{ readonly netns: string; readonly cgroupParent: string } | undefined> {
    const [cached] = await this.#cache.list(pod);
    if (cached === undefined) return undefined;
    const { cgroupPath } = cached.capabilityArgs;
    return { netns: cached.netns, cgroupParent: typeof cgroupPath === 'string' ? cgroupPath : '' };
  }

  /**
   * Takes down what pods left that are no more: attachments, what plugins keep (CNI GC), host ports. Waits for the
   * first readiness when the network is not ready [H55]. Never fails: what it cannot do it logs.
   */
  async collectGarbage(valid: readonly PodNetwork[]): Promise<void> {
    if (!this.#readiness.status().ready) this.#garbageAfter = valid;
    else await this.#collect(valid, 'Garbage collect stale network resources during server startup failed');
  }

  async #collectDeferred(): Promise<void> {
    const valid = this.#garbageAfter;
    this.#garbageAfter = undefined;
    if (valid !== undefined) await this.#collect(valid, 'Garbage collect stale network resources failed');
  }

  async #collect(valid: readonly PodNetwork[], failed: string): Promise<void> {
    using _ = await this.#collecting.exclusive();
    try {
      const collected = await this.#attachments.collect(valid, deadlineIn(COLLECT_MS));
      await this.#hostPorts.collect(collected);
    } catch (error) {
      this.#log.warn(`${failed}: ${textOf(error)}`);
    }
  }

  async #add(pod: PodNetwork, netns: string, capabilities: { readonly [key: string]: Json }, deadline: Deadline): Promise<Attached> {
    const started = performance.now();
    try {
      const network = await this.#attachments.defaultNetwork();
      if (this.#settings.loopback === 'nsenter') await bringLoopbackUp(netns, this.#environment, deadline);
      return await this.#attachments.add(network, pod, capabilities, deadline);
    } catch (error) {
      throw wrap(`failed to create pod network sandbox ${described(pod)}`, error);
    } finally {
      this.#observe('network_setup_pod', performance.now() - started);
    }
  }

  async #check(pod: PodNetwork, attached: Attached, deadline: Deadline): Promise<void> {
    try {
      await this.#attachments.check(pod, attached, deadline);
    } catch (error) {
      throw wrap(`failed to get network status for pod sandbox ${described(pod)}`, error);
    }
  }

  async #checkLater(pod: PodNetwork, attached: Attached): Promise<void> {
    using _collecting = await this.#collecting.shared();
    using _pod = await this.#pods.acquire(fullName(pod));
    if ((await this.#cache.list(pod.id)).length === 0) return; // Taken down while it waited for its turn.
    await this.#check(pod, attached, deadlineIn(ATTACH_MS));
  }

  async #openHostPorts(pod: PodNetwork, ips: readonly string[]): Promise<void> {
    try {
      await this.#hostPorts.add(ownerOf(pod), ips);
    } catch (error) {
      throw wrap(`failed to add hostport mapping for sandbox ${described(pod)}`, error);
    }
  }

  async #takeDown(pod: PodNetwork, deadline: Deadline): Promise<void> {
    await this.#removeHostPorts(pod);
    const valid = await this.#hasOwnNamespace(pod);
    try {
      await this.#attachments.delete(pod, deadline);
    } catch (error) {
      // A caller that went away is no plugin that failed: everything stays for its next call.
      if (deadline.signal?.aborted === true) throw error;
      if (valid && pod.netnsPath !== undefined) await this.#removeNamespace(pod.netnsPath, pod);
      await this.#cache.removeContainer(pod.id);
      if (valid) throw wrap(`network teardown failed for pod sandbox ${described(pod)}`, error);
      this.#log.debug(`CNI teardown failed due to missing/invalid network namespace for pod sandbox ${described(pod)}: ${textOf(error)}`);
    }
  }

  /** What keeps them does not keep the pod: they are tried again later, and listed as debris until they have gone (p02). */
  async #removeHostPorts(pod: PodNetwork): Promise<void> {
    const work = () => this.#hostPorts.remove(ownerOf(pod));
    try {
      await work();
    } catch (error) {
      this.#log.warn(`Failed to remove hostport for pod sandbox ${described(pod)}: ${textOf(error)}`);
      this.#stuck.add(pod.id, { what: `remove the host ports of pod ${described(pod)}`, error, work });
    }
  }

  /** A path that leads to no namespace is removed: DEL must not take it for one [H50]. Another's is left alone (needs p34). */
  async #hasOwnNamespace(pod: PodNetwork): Promise<boolean> {
    if (pod.netnsPath === undefined) {
      this.#log.warn(`Network namespace path is empty for pod sandbox ${described(pod)}, attempting CNI teardown with cached info`);
      return false;
    }
    const found = await this.#attachments.namespaceOf(pod.netnsPath, pod);
    if (found === 'foreign') {
      this.#log.warn(
        `Network namespace ${pod.netnsPath} is not the one in which pod sandbox ${described(pod)} was attached, attempting CNI teardown without it`,
      );
    }
    if (found === 'other') {
      this.#log.warn(
        `Network namespace file ${pod.netnsPath} is invalid for pod sandbox ${described(pod)}, removing and attempting CNI teardown with cached info`,
      );
      await this.#removeNamespace(pod.netnsPath, pod);
    }
    return found === 'own';
  }

  async #removeNamespace(path: string, pod: PodNetwork): Promise<void> {
    try {
      unmountAll(path);
      await rm(path, { force: true });
      this.#log.info(`Removed netns path ${path} from pod sandbox ${described(pod)}`);
    } catch (error) {
      this.#log.warn(`Failed to remove netns path ${path}: ${textOf(error)}`);
    }
  }
}

function ownerOf({ id, sandboxName, portMappings }: PodNetwork): Parameters<HostPortManager['add']>[0] {
  return { id, sandboxName, portMappings };
}

/** CNI 1.1's form with the members in the order in which CRI-O writes them. */
function current(result: CniResult | undefined): CniResult {
  const json = toJson(asVersion(result ?? { cniVersion: CNI_VERSION }, CNI_VERSION));
  return JSON.parse(goJson(json)) as CniResult;
}
