import { Failure, textOf } from '../../errors/index.ts';
import { deleteUdpConntrack } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';
import type { PortMapping } from '../pod.ts';
import { IptablesHostPorts } from './iptables.ts';
import { type IpFamily, hostPortsOf, mappingsOf, requireSound } from './mappings.ts';
import { NftablesHostPorts } from './nftables.ts';

/** Who owns the rules: a sandbox and its full name. */
export interface HostPortOwner {
  readonly id: string;
  readonly sandboxName: string;
  readonly portMappings: readonly PortMapping[];
}

export interface HostPortManager {
  /** Ahead of `add`, while the pod's addresses are not known yet: what costs time and does not depend on them. */
  prepare(owner: HostPortOwner): Promise<void>;
  /** Opens the pod's host ports for the first address of each family [H44]; again is success, a taken port fails. */
  add(owner: HostPortOwner, podIps: readonly string[]): Promise<void>;
  /** Closes them; needs no addresses, and nothing to close is success. */
  remove(owner: HostPortOwner): Promise<void>;
  /** Closes whatever nftables still opens for sandboxes that are no more. */
  collect(sandboxIds: ReadonlySet<string>): Promise<void>;
}

/** `disable_hostport_mapping`: mappings are accepted and ignored [H61]. */
export const noHostPorts: HostPortManager = {
  prepare: () => Promise.resolve(),
  add: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  collect: () => Promise.resolve(),
};

/**
 * Looks what the host offers: nft is preferred, iptables the fallback, each per address family [H62–H64].
 * Fails when neither works for IPv4; missing IPv6 is only logged.
 */
export async function openHostPorts(env: Readonly<Record<string, string>>, log: Logger): Promise<HostPortManager> {
  const version = NftablesHostPorts.version(env);
  const [v4, v6] = await Promise.all([backEndOf(4, env, version), backEndOf(6, env, version)]);
  if (v4.kind === 'none') {
    throw new Failure(
      'FailedPrecondition',
      `can't create HostPortManager: no support for iptables (${v4.iptables}) or nftables (${v4.nft}) (use --disable-hostport-mapping to disable HostPort handling)`,
      { advice: 'Install nftables, or set disable_hostport_mapping = true.' },
    );
  }
  if (v6.kind !== 'nft') log.info(`No kernel support for IPv6: ${v6.nft}`);
  if (v6.kind === 'none') log.info(`No iptables support for IPv6: ${v6.iptables}`);
  return new RuleHostPorts(new Map([[4, v4.kind] as const, [6, v6.kind] as const]), env, log);
}

type BackEnd =
  | { readonly kind: 'nft' }
  | { readonly kind: 'iptables'; readonly nft: string }
  | { readonly kind: 'none'; readonly nft: string; readonly iptables: string };

async function backEndOf(family: IpFamily, env: Readonly<Record<string, string>>, version: Promise<void>): Promise<BackEnd> {
  try {
    await Promise.all([version, NftablesHostPorts.probe(family, env)]);
    return { kind: 'nft' };
  } catch (nft) {
    try {
      await IptablesHostPorts.probe(family, env);
      return { kind: 'iptables', nft: textOf(nft) };
    } catch (iptables) {
      return { kind: 'none', nft: textOf(nft), iptables: textOf(iptables) };
    }
  }
}

class RuleHostPorts implements HostPortManager {
  readonly #backEnds: ReadonlyMap<IpFamily, BackEnd['kind']>;
  readonly #nft: NftablesHostPorts;
  readonly #iptables: IptablesHostPorts;
  readonly #log: Logger;

  constructor(backEnds: ReadonlyMap<IpFamily, BackEnd['kind']>, env: Readonly<Record<string, string>>, log: Logger) {
    this.#backEnds = backEnds;
    this.#nft = new NftablesHostPorts(env, log);
    this.#iptables = new IptablesHostPorts(env);
    this.#log = log;
  }

  async prepare(owner: HostPortOwner): Promise<void> {
    await this.#nft.prepare(this.#families(owner).filter((family) => this.#backEnds.get(family) === 'nft'));
  }

  async add(owner: HostPortOwner, podIps: readonly string[]): Promise<void> {
    const ports = hostPortsOf(owner.id, owner.sandboxName, podIps, owner.portMappings);
    ports.forEach(requireSound);
    const unsupported = ports.find(({ family }) => this.#backEnds.get(family) === 'none');
    if (unsupported !== undefined) throw new Failure('Unknown', `no HostPort support for IPv${unsupported.family} on this host`);
    await this.#nft.add(ports.filter(({ family }) => this.#backEnds.get(family) === 'nft'));
    for (const one of ports.filter(({ family }) => this.#backEnds.get(family) === 'iptables')) await this.#iptables.add(one);
    // After the rules: an entry made before them would keep a client's packets from the pod for as long as it sends [H66].
    for (const { family, mappings } of ports) await this.#forgetUdp(family, mappings);
  }

  /** Both back ends, whichever is preferred today; iptables' errors count only where it is [H64]. */
  async remove(owner: HostPortOwner): Promise<void> {
    const families = this.#families(owner);
    if (families.length === 0) return;
    const byNft = families.filter((family) => this.#backEnds.get(family) === 'nft');
    const onlyNft = this.#nft.made(owner.id);
    const errors: string[] = [];
    if (byNft.length > 0) await this.#nft.remove(owner.id, byNft).catch((error: unknown) => errors.push(textOf(error)));
    for (const family of onlyNft ? [] : families) {
      await this.#iptables.remove(owner.id, family, mappingsOf(owner.portMappings, family)).catch((error: unknown) => {
        if (this.#backEnds.get(family) === 'iptables') errors.push(textOf(error));
      });
    }
    if (errors.length > 0) throw new Failure('Unknown', errors.join('\n'));
  }

  async collect(sandboxIds: ReadonlySet<string>): Promise<void> {
    if (sandboxIds.size > 0)
      await this.#nft.removeAll(
        sandboxIds,
        ([4, 6] as const).filter((family) => this.#backEnds.get(family) === 'nft'),
      );
  }

  #families(owner: HostPortOwner): readonly IpFamily[] {
    return ([4, 6] as const).filter((family) => mappingsOf(owner.portMappings, family).length > 0);
  }

  async #forgetUdp(family: IpFamily, mappings: readonly PortMapping[]): Promise<void> {
    const ports = [...new Set(mappings.filter(({ protocol }) => protocol === 'UDP').map(({ hostPort }) => hostPort))];
    for (const port of ports) {
      try {
        await deleteUdpConntrack(family, port);
      } catch (error) {
        this.#log.error(`Failed to clear udp conntrack for port ${port}, error: ${textOf(error)}`);
      }
    }
  }
}
