import { type HostPorts, isAnyAddress, shortHash } from './mappings.ts';
import type { PortMapping } from '../pod.ts';

/** Texts for iptables-restore; the chains and hashes are CRI-O's, so that either daemon removes what the other made. */
const HOST_PORTS = 'KUBE-HOSTPORTS';
const MASQUERADE = 'CRIO-HOSTPORTS-MASQ';
const HOST_PORT_PREFIX = 'KUBE-HP-';
const MASQUERADE_PREFIX = 'CRIO-MASQ-';

const PORTALS = '-m comment --comment "kube hostport portals" -m addrtype --dst-type LOCAL -j KUBE-HOSTPORTS';
const HAIRPINS = '-m comment --comment "kube hostport masquerading" -m conntrack --ctstate DNAT -j CRIO-HOSTPORTS-MASQ';
/** What iptables-save prints for each jump, and how it is made [H73]. */
const JUMPS: readonly { readonly saved: string; readonly made: string }[] = [
  // Appended, so that KUBE-SERVICES and the like go first.
  { saved: `-A PREROUTING ${PORTALS}`, made: `-A PREROUTING ${PORTALS}` },
  { saved: `-A OUTPUT ${PORTALS}`, made: `-A OUTPUT ${PORTALS}` },
  // At the head, unlike CRI-O's: a network plugin's rule for the pod's own subnet accepts a hairpin before the end.
  { saved: `-A POSTROUTING ${HAIRPINS}`, made: `-I POSTROUTING ${HAIRPINS}` },
];

/** The host-port chains of `iptables-save -t nat`, by name, with their rules in order. */
export interface SavedRules {
  /** Name → its `:NAME POLICY [packets:bytes]` line. */
  readonly chains: ReadonlyMap<string, string>;
  readonly rules: readonly string[];
  /** Rules that make the jumps that are not there. */
  readonly missingJumps: readonly string[];
}

export function parseSaved(text: string): SavedRules {
  const lines = text.split('\n').map((line) => line.trim());
  const chains = new Map<string, string>();
  for (const line of lines) {
    const name = line.startsWith(':') ? line.slice(1, line.indexOf(' ')) : '';
    if (isOurs(name)) chains.set(name, line);
  }
  const rules = lines.filter((line) => line.startsWith('-A ') && isOurs(line.split(' ', 2)[1] ?? ''));
  return { chains, rules, missingJumps: JUMPS.filter(({ saved }) => !lines.includes(saved)).map(({ made }) => made) };
}

/** One restore that adds a pod's chains and keeps everyone else's [H73–H76]. */
export function addRules(saved: SavedRules, ports: HostPorts): string {
  const fresh = chainsOf(ports.sandboxId, ports.mappings);
  const rest = without(saved, fresh);
  const chains = new Map([HOST_PORTS, MASQUERADE, ...fresh].map((name) => [name, `:${name} - [0:0]`]));
  for (const [name, line] of rest.chains) chains.set(name, line);
  const own = ports.mappings.flatMap((mapping) => rulesOf(ports, mapping));
  // A pod's jumps are inserted at the head of chains whose older rules are repeated by -A: the newest pod wins a port [H74].
  return restore([...chains.values()], [...rest.rules, ...own, ...saved.missingJumps]);
}

/** One restore that removes a pod's chains; undefined when there is nothing of it [H77]. */
export function removeRules(saved: SavedRules, sandboxId: string, mappings: readonly PortMapping[]): string | undefined {
  const gone = chainsOf(sandboxId, mappings).filter((name) => saved.chains.has(name));
  if (gone.length === 0) return undefined;
  const rest = without(saved, gone);
  return restore([...saved.chains.values()], [...rest.rules, ...gone.map((name) => `-X ${name}`)]);
}

function rulesOf({ sandboxId, sandboxName, family, podIp }: HostPorts, mapping: PortMapping): readonly string[] {
  const { hostPort, containerPort, hostIp } = mapping;
  const protocol = mapping.protocol.toLowerCase();
  const [hostChain = '', masqueradeChain = ''] = chainsOf(sandboxId, [mapping]);
  const comment = `-m comment --comment "${sandboxName.replaceAll(/[^\w.-]/g, '_').slice(0, 230)} hostport ${hostPort}"`;
  const match = `-m ${protocol} -p ${protocol}`;
  const target = family === 6 ? `[${podIp}]:${containerPort}` : `${podIp}:${containerPort}`;
  return [
    `-I ${HOST_PORTS} ${comment} ${match} --dport ${hostPort} -j ${hostChain}`,
    `-I ${MASQUERADE} ${comment} -j ${masqueradeChain}`,
    `-A ${hostChain} ${comment} ${match}${isAnyAddress(hostIp) ? '' : ` -d ${hostIp}`} -j DNAT --to-destination=${target}`,
    `-A ${masqueradeChain} ${comment} -m conntrack --ctorigdstport ${hostPort} ${match} --dport ${containerPort} -s ${podIp} -d ${podIp} -j MASQUERADE`,
  ];
}

function chainsOf(sandboxId: string, mappings: readonly PortMapping[]): string[] {
  return mappings.flatMap(({ hostPort, protocol, hostIp }) => {
    const hash = shortHash(`${sandboxId}${hostPort}${protocol}${hostIp}`);
    return [`${HOST_PORT_PREFIX}${hash}`, `${MASQUERADE_PREFIX}${hash}`];
  });
}

function without(saved: SavedRules, names: readonly string[]): Pick<SavedRules, 'chains' | 'rules'> {
  const chains = new Map([...saved.chains].filter(([name]) => !names.includes(name)));
  return { chains, rules: saved.rules.filter((rule) => !rule.split(' ').some((word) => names.includes(word))) };
}

function restore(chains: readonly string[], rules: readonly string[]): string {
  return ['*nat', ...chains, ...rules, 'COMMIT', ''].join('\n');
}

function isOurs(chain: string): boolean {
  return chain === HOST_PORTS || chain === MASQUERADE || chain.startsWith(HOST_PORT_PREFIX) || chain.startsWith(MASQUERADE_PREFIX);
}
