import { BlockList, isIP } from 'node:net';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Whether a URL is reached by way of the proxy that the environment names, decided as Go's clients decide it, for nodes say
 * `NO_PROXY=10.0.0.0/8,.svc,example.com`: addresses, blocks of them, domains with all below them, each with an optional port;
 * `*` is everything. This machine itself is never reached through a proxy.
 */
export function usesProxy(url: URL, env: Environment): boolean {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  if (either(env, name) === '') return false;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || isLoopback(host)) return false;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const entries = either(env, 'NO_PROXY').split(',');
  return !entries.some((entry) => excludes(entry.trim().toLowerCase(), host, port));
}

/** The environment for Node's own proxy support, which then has nothing to decide. */
export function proxyOnly(env: Environment): Record<string, string> {
  return { http_proxy: either(env, 'HTTP_PROXY'), https_proxy: either(env, 'HTTPS_PROXY') };
}

function either(env: Environment, name: string): string {
  return env[name] || env[name.toLowerCase()] || '';
}

function excludes(entry: string, host: string, port: string): boolean {
  if (entry === '') return false;
  if (entry === '*') return true;
  const block = /^([0-9a-f.:]+)\/([0-9]{1,3})$/.exec(entry);
  if (block !== null) return isIP(host) !== 0 && isInBlock(host, block[1] ?? '', Number(block[2]));
  const [name, ownPort] = withoutPort(entry);
  if (ownPort !== undefined && ownPort !== port) return false;
  if (isIP(name) !== 0) return host === name;
  // `example.com` is the host and what is below it, `.example.com` and `*.example.com` only what is below it.
  const below = name.replace(/^\*?\./, '.');
  return below.startsWith('.') ? host.endsWith(below) : host === name || host.endsWith(`.${name}`);
}

function withoutPort(entry: string): readonly [string, string | undefined] {
  const bracketed = /^\[([^\]]*)\](?::([0-9]+))?$/.exec(entry);
  if (bracketed !== null) return [bracketed[1] ?? '', bracketed[2]];
  const [name = '', port, ...more] = entry.split(':');
  return more.length > 0 ? [entry, undefined] : [name, port];
}

function isLoopback(host: string): boolean {
  return isInBlock(host, '127.0.0.0', 8) || isInBlock(host, '::1', 128);
}

function isInBlock(host: string, network: string, bits: number): boolean {
  const [own, other] = [isIP(host), isIP(network)];
  if (own === 0 || own !== other || bits > (own === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, own === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, own === 4 ? 'ipv4' : 'ipv6');
}
