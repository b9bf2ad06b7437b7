import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { Failure } from '../../errors/index.ts';
import { familyOf } from '../cni/result.ts';
import type { PortMapping } from '../pod.ts';

export type IpFamily = 4 | 6;

/** The host ports of one pod in one address family; never empty. */
export interface HostPorts {
  readonly sandboxId: string;
  readonly sandboxName: string;
  readonly family: IpFamily;
  readonly podIp: string;
  readonly mappings: readonly PortMapping[];
}

/** Host ports go to the pod's first address of each family [H44]; a mapping's host address picks its family [H65]. */
export function hostPortsOf(
  sandboxId: string,
  sandboxName: string,
  podIps: readonly string[],
  all: readonly PortMapping[],
): readonly HostPorts[] {
  const found: HostPorts[] = [];
  for (const family of [4, 6] as const) {
    const podIp = podIps.find((ip) => familyOf(ip) === family);
    const mappings = mappingsOf(all, family);
    if (podIp !== undefined && mappings.length > 0) found.push({ sandboxId, sandboxName, family, podIp, mappings });
  }
  return found;
}

/** The mappings that concern a family: host port above 0, and no host address of the other family [H65]. */
export function mappingsOf(all: readonly PortMapping[], family: IpFamily): readonly PortMapping[] {
  return all.filter((mapping) => mapping.hostPort > 0 && (mapping.hostIp === '' || familyOf(mapping.hostIp) === family));
}

/** '', 0.0.0.0 and :: mean every local address. */
export function isAnyAddress(hostIp: string): boolean {
  return hostIp === '' || hostIp === '0.0.0.0' || hostIp === '::';
}

/** What becomes text for nft or iptables is checked first: ports in range, addresses that are addresses. */
export function requireSound(ports: HostPorts): void {
  if (isIP(ports.podIp) === 0) throw new Failure('InvalidArgument', `invalid pod IP address "${ports.podIp}"`);
  for (const { hostPort, containerPort, protocol, hostIp } of ports.mappings) {
    if (![hostPort, containerPort].every((port) => Number.isInteger(port) && port > 0 && port < 65536))
      throw new Failure('InvalidArgument', `invalid host port mapping ${hostPort}:${containerPort}: ports are 1 to 65535`);
    if (hostIp !== '' && (isIP(hostIp) === 0 || hostIp.includes('%')))
      throw new Failure('InvalidArgument', `invalid host IP address "${hostIp}"`);
    if (!['TCP', 'UDP', 'SCTP'].includes(protocol))
      throw new Failure('InvalidArgument', `invalid protocol "${protocol}" of host port ${hostPort}`);
  }
}

/** The first 16 characters of base32(sha256(text)): marks a pod's nft elements [H71] and names its iptables chains [H74]. */
export function shortHash(text: string): string {
  const digest = createHash('sha256').update(text).digest();
  let bits = 0;
  let value = 0;
  let encoded = '';
  for (const byte of digest) {
    value = (value << 8) | byte;
    bits += 8;
    for (; bits >= 5 && encoded.length < 16; bits -= 5) encoded += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[(value >> (bits - 5)) & 31] ?? '';
    value &= (1 << bits) - 1;
  }
  return encoded;
}
