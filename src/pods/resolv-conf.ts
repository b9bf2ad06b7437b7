import type { DNSConfig } from '../oci/spec/index.ts';

/**
 * The text of a pod's resolv.conf: search, nameservers, options in this order [D47]; undefined when the request says
 * nothing and the host's is to be copied. A line break inside a value would start a line of its own: it becomes a space.
 */
export function resolvConf(dns: DNSConfig | undefined): string | undefined {
  if (dns === undefined || dns.servers.length + dns.searches.length + dns.options.length === 0) return undefined;
  const clean = (text: string) => text.replaceAll(/[\r\n]/g, ' ');
  let text = '';
  if (dns.searches.length > 0) text += `search ${dns.searches.map(clean).join(' ')}\n`;
  for (const server of dns.servers) text += `nameserver ${clean(server)}\n`;
  if (dns.options.length > 0) text += `options ${dns.options.map(clean).join(' ')}\n`;
  return text;
}
