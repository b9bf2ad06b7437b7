import { Failure, wrap } from '../../errors/index.ts';
import type { PodNetwork } from '../pod.ts';
import type { NetworkConfig, PluginConfig } from './config.ts';
import { type Json, type JsonObject, property } from './json.ts';
import { parseQuantity } from './quantity.ts';
import { type CniResult, toJson } from './result.ts';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION';

/** One pod on one network: what the plugins of a chain are all told. */
export interface Attachment {
  readonly containerId: string;
  /** '' when the namespace has gone. */
  readonly netns: string;
  /** Which namespace that path led to when the pod was attached (`namespaceAt`); '' where nobody noted it. For us alone. */
  readonly netnsId: string;
  readonly ifName: string;
  readonly args: readonly CniArg[];
  readonly capabilityArgs: JsonObject;
}
export type CniArg = readonly [key: string, value: string];

/** "A burst that never limits": 4 GiB in bits, less one [H32]. */
const BURST = 4294967295 * 8 - 1;

/** CNI_ARGS in CRI-O's order, then the pairs of the daemon's own CNI_ARGS [H29]. */
export function podArgs(pod: PodNetwork, inherited: string | undefined): CniArg[] {
  const args: CniArg[] = [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAMESPACE', pod.namespace],
    ['K8S_POD_NAME', pod.name],
    ['K8S_POD_INFRA_CONTAINER_ID', pod.id],
    ['K8S_POD_UID', pod.uid],
  ];
  for (const pair of (inherited ?? '').split(';')) {
    const equals = pair.indexOf('=');
    if (equals >= 0) args.push([pair.slice(0, equals), pair.slice(equals + 1)]);
  }
  return args;
}

/**
 * What plugins may ask for by capability [H30]: `bandwidth`, `cgroupPath`, `io.kubernetes.cri.pod-annotations`.
 * Never `portMappings`: host ports are the daemon's [H31]. Fails when a bandwidth annotation is no quantity [H32, D71].
 */
export function capabilityArgs(pod: PodNetwork): JsonObject {
  const bandwidth = bandwidthOf(pod);
  return {
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(pod.cgroupParent === '' ? {} : { cgroupPath: pod.cgroupParent }),
    'io.kubernetes.cri.pod-annotations': Object.fromEntries(pod.annotations),
  };
}

function bandwidthOf(pod: PodNetwork): JsonObject | undefined {
  const egress = rate(pod, 'egress');
  const ingress = rate(pod, 'ingress');
  if (egress === 0 && ingress === 0) return undefined;
  return {
    ingressRate: ingress,
    ingressBurst: ingress > 0 ? BURST : 0,
    egressRate: egress,
    egressBurst: egress > 0 ? BURST : 0,
  };
}

function rate(pod: PodNetwork, direction: 'egress' | 'ingress'): number {
  const text = pod.annotations.get(`kubernetes.io/${direction}-bandwidth`);
  if (text === undefined) return 0;
  try {
    const bits = parseQuantity(text) ?? 0n;
    return bits > 0n ? Number(bits) : 0; // JSON numbers: exact to 9 Pbit/s.
  } catch (error) {
    throw wrap(`failed to parse ${direction} bandwidth`, error);
  }
}

/** A plugin's stdin: its configuration with the list's name and version, what came before, and what it may know. */
export function pluginInput(
  network: NetworkConfig,
  plugin: PluginConfig,
  more: { readonly prevResult?: CniResult | undefined; readonly capabilityArgs?: JsonObject; readonly attachments?: Json } = {},
): string {
  const runtimeConfig = Object.fromEntries(
    [...plugin.capabilities].flatMap((capability) => {
      const value = property(more.capabilityArgs ?? {}, capability);
      return value === undefined ? [] : [[capability, value] as const];
    }),
  );
  return JSON.stringify({
    ...plugin.json,
    name: network.name,
    cniVersion: network.cniVersion,
    ...(more.prevResult === undefined ? {} : { prevResult: toJson(more.prevResult) }),
    ...(Object.keys(runtimeConfig).length === 0 ? {} : { runtimeConfig }),
    ...(more.attachments === undefined ? {} : { 'cni.dev/valid-attachments': more.attachments, 'cni.dev/attachments': more.attachments }),
  });
}

/** The CNI_* variables of one execution [H28]. */
export function pluginEnvironment(command: CniCommand, path: string, attachment?: Attachment): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: attachment?.containerId ?? '',
    CNI_NETNS: attachment?.netns ?? '',
    CNI_ARGS: (attachment?.args ?? []).map(([key, value]) => `${key}=${value}`).join(';'),
    CNI_IFNAME: attachment?.ifName ?? '',
    CNI_PATH: path,
  };
}

/** Variables that steer Node or libuv; the daemon's launcher may have set them. `NODE_NAME` is not among them. */
const OURS = /^(NODE_(OPTIONS|PATH|COMPILE_CACHE|CHANNEL_FD|UNIQUE_ID|V8_COVERAGE|TEST_CONTEXT|DEBUG)|UV_THREADPOOL_SIZE)$/;

/** What every plugin inherits: the daemon's environment [H28] without what steers Node itself (needs a75). */
export function inheritedEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(environment)) {
    if (value !== undefined && !OURS.test(key)) kept[key] = value;
  }
  return kept;
}

/** Names that become file names and nft text: libcni's rule and its texts. */
export function validateNames(networkName: string, containerId: string): void {
  if (containerId === '') throw new Failure('InvalidArgument', 'missing containerID');
  if (!isCniName(containerId)) throw new Failure('InvalidArgument', `invalid characters in containerID; ${containerId}`);
  if (networkName === '') throw new Failure('InvalidArgument', 'missing network name:');
  if (!isCniName(networkName)) throw new Failure('InvalidArgument', `invalid characters found in network name; ${networkName}`);
}

export function isCniName(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text);
}
