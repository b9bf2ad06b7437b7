import type { SandboxId } from '../ids/index.ts';

/** What the network needs to know of a pod. Host-network pods never get here. */
export interface PodNetwork {
  readonly id: SandboxId;
  /** The pod's Kubernetes name. */
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** The sandbox's full name, `k8s_<name>_<namespace>_<uid>_<attempt>`: used in texts and iptables comments. */
  readonly sandboxName: string;
  /** The pin file of its network namespace; undefined when that has gone [H50]. */
  readonly netnsPath: string | undefined;
  readonly cgroupParent: string;
  readonly annotations: ReadonlyMap<string, string>;
  readonly portMappings: readonly PortMapping[];
}

export type PortProtocol = 'TCP' | 'UDP' | 'SCTP';

/** One row of `io.kubernetes.cri-o.PortMappings` [H60]. Rows with hostPort 0 map nothing. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: PortProtocol;
  /** '' means every local address. */
  readonly hostIp: string;
}

/** `name(id)`, as CRI-O names a pod in its errors. */
export function described(pod: PodNetwork): string {
  return `${pod.sandboxName}(${pod.id})`;
}

/** `<namespace>_<name>`: the key under which a pod's network operations are serial [H37]. */
export function fullName(pod: PodNetwork): string {
  return `${pod.namespace}_${pod.name}`;
}

/** The part of the configuration that this room needs; `[crio.network]` plus three keys of other sections. */
export interface NetworkSettings {
  /** As configured, trailing slash included: it is quoted in texts [H14]. */
  readonly networkDir: string;
  /** In search order [H2]. */
  readonly pluginDirs: readonly string[];
  /** '' lets the first valid file decide [H4]. */
  readonly defaultNetwork: string;
  /** `cni_status_grace_period` in milliseconds; 0 is off [H15]. */
  readonly statusGraceMs: number;
  /** `disable_hostport_mapping` [H61]. */
  readonly disableHostPortMapping: boolean;
  /** Default `/var/lib/cni`; attachments are below `results/` [H40]. */
  readonly cacheDir?: string;
  /** The environment that plugins inherit, the daemon's own [H28]. Node's own variables are left out. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /**
   * Who brings `lo` up in a new namespace [H26]: `already-up` trusts whoever made the namespace
   * (NamespaceMaker does it by ioctl), `nsenter` runs `ip link set lo up` inside it before ADD.
   */
  readonly loopback?: 'already-up' | 'nsenter';
}
