import type { DNSConfig, MessageInput } from '../../wire/index.ts';
import type { Pod } from './schema.ts';

export interface Resolver {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** resolv.conf(5): of several `search` or `options` lines the last counts for search, all for options. */
export function parseResolvConf(text: string): Resolver {
  const servers: string[] = [];
  const options: string[] = [];
  let searches: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword = '', ...words] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && words[0] !== undefined) servers.push(words[0]);
    else if (keyword === 'search' || keyword === 'domain') searches = words;
    else if (keyword === 'options') options.push(...words);
  }
  return { servers, searches, options };
}

/**
 * The pod's resolver, by dnsPolicy. There is no cluster DNS, so ClusterFirst is Default, as for a kubelet without one:
 * the node's own, with what dnsConfig adds; undefined: nothing is added, the runtime takes the node's.
 */
export function dnsOf({ spec }: Pod, node: Resolver): MessageInput<DNSConfig> | undefined {
  const added = spec.dnsConfig;
  if (added === undefined) return undefined;
  const base = spec.dnsPolicy === 'None' ? { servers: [], searches: [], options: [] } : node;
  const named = new Map(base.options.map((option) => [option.split(':', 1)[0] ?? option, option]));
  for (const { name, value } of added.options) named.set(name, value === undefined || value === '' ? name : `${name}:${value}`);
  return {
    servers: [...new Set([...base.servers, ...added.nameservers])],
    searches: [...new Set([...base.searches, ...added.searches])],
    options: [...named.values()],
  };
}
