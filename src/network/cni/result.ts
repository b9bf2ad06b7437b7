import { isIP, SocketAddress } from 'node:net';
import { Failure, textOf } from '../../errors/index.ts';
import { type Json, type JsonObject, goType, isObject, property } from './json.ts';
import { compareVersions } from './version.ts';

/** A plugin's result in the form of CNI 1.0 and 1.1; absent members are absent. */
export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces?: readonly CniInterface[];
  readonly ips?: readonly CniIp[];
  readonly routes?: readonly CniRoute[];
  readonly dns?: CniDns;
}

export interface CniInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface CniIp {
  /** Index into `interfaces`. */
  readonly interface?: number;
  /** `10.85.0.2/16`: the address itself, with its prefix length. */
  readonly address: string;
  readonly gateway?: string;
}

export interface CniRoute {
  readonly dst: string;
  readonly gw?: string;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

export interface CniDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** Result forms: 0.1 and 0.2 know one address a family, 0.3 and 0.4 tell each address its family. */
type Form = '0.2' | '0.4' | '1.0';
const FORMS: Readonly<Record<string, Form>> = {
  '0.1.0': '0.2',
  '0.2.0': '0.2',
  '0.3.0': '0.4',
  '0.3.1': '0.4',
  '0.4.0': '0.4',
  '1.0.0': '1.0',
  '1.1.0': '1.0',
};

/**
 * Reads what a plugin printed, of whatever version it says, else of `configVersion` [H33].
 * Unknown members are dropped, as libcni drops them. The answer keeps the version it was written in.
 */
export function parseResult(text: string, configVersion: string): CniResult {
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch (error) {
    throw new Failure('Unknown', `failed to unmarshal raw result: ${textOf(error)}`);
  }
  return readResult(json === null ? {} : json, configVersion);
}

export function readResult(json: Json, configVersion: string): CniResult {
  if (!isObject(json)) throw new Failure('Unknown', `failed to unmarshal raw result: it is a ${goType(json)}`);
  const own = property(json, 'cniVersion');
  const cniVersion = typeof own === 'string' && own !== '' ? own : configVersion === '' ? '0.1.0' : configVersion;
  const form = formOf(cniVersion);
  const routes = form === '0.2' ? [...legacyRoutes(json, 'ip4'), ...legacyRoutes(json, 'ip6')] : list(json, 'routes', readRoute);
  const ips = form === '0.2' ? [...legacyIp(json, 'ip4'), ...legacyIp(json, 'ip6')] : list(json, 'ips', readIp);
  const interfaces = list(json, 'interfaces', readInterface);
  const dns = readDns(json);
  return {
    cniVersion,
    ...(interfaces.length > 0 ? { interfaces } : {}),
    ...(ips.length > 0 ? { ips } : {}),
    ...(routes.length > 0 ? { routes } : {}),
    ...(dns === undefined ? {} : { dns }),
  };
}

/** The same result said to be of another version; `toJson` writes that version's form. */
export function asVersion(result: CniResult, version: string): CniResult {
  formOf(version);
  return { ...result, cniVersion: version === '' ? '0.1.0' : version };
}

/** The result in the JSON form of its `cniVersion`: what plugins get as `prevResult` and the cache keeps. */
export function toJson(result: CniResult): JsonObject {
  const { cniVersion, interfaces, ips, routes, dns } = result;
  const tail = dns === undefined ? {} : { dns: dns as JsonObject };
  switch (formOf(cniVersion)) {
    case '0.2':
      return { cniVersion, ...legacyFamily(result, 4), ...legacyFamily(result, 6), ...tail };
    case '0.4':
    case '1.0': {
      const typed = formOf(cniVersion) === '0.4' ? ips?.map((ip) => ({ version: String(familyOf(ip.address)), ...ip })) : ips;
      const newer = compareVersions(cniVersion, '1.0.0') >= 0;
      const known = newer ? interfaces : interfaces?.map(({ name, mac, sandbox }) => ({ name, ...defined({ mac, sandbox }) }));
      return { cniVersion, ...(defined({ interfaces: known, ips: typed, routes }) as JsonObject), ...tail };
    }
  }
}

/** Every address of the result in order, without prefix length [H42]. */
export function addressesOf(result: CniResult): string[] {
  return (result.ips ?? []).map((ip) => ip.address.slice(0, ip.address.indexOf('/')));
}

/** 4 or 6, of an address with or without prefix length. */
export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

function formOf(version: string): Form {
  const form = Object.hasOwn(FORMS, version === '' ? '0.1.0' : version) ? FORMS[version === '' ? '0.1.0' : version] : undefined;
  if (form === undefined) throw new Failure('Unknown', `unsupported CNI result version "${version}"`);
  return form;
}

function legacyFamily(result: CniResult, family: 4 | 6): JsonObject {
  const ip = result.ips?.find((candidate) => familyOf(candidate.address) === family);
  if (ip === undefined) return {};
  const routes = (result.routes ?? [])
    .filter((route) => familyOf(route.dst) === family)
    .map(({ dst, gw }) => ({ dst, ...defined({ gw }) }));
  return {
    [`ip${family}`]: {
      ip: ip.address,
      ...(defined({ gateway: ip.gateway, routes: routes.length > 0 ? routes : undefined }) as JsonObject),
    },
  };
}

function legacyIp(json: JsonObject, key: 'ip4' | 'ip6'): CniIp[] {
  const value = property(json, key);
  if (value === undefined || value === null) return [];
  const object = requireObject(value, key);
  return [
    { address: cidr(property(object, 'ip'), `${key}.ip`), ...defined({ gateway: address(property(object, 'gateway'), `${key}.gateway`) }) },
  ];
}

function legacyRoutes(json: JsonObject, key: 'ip4' | 'ip6'): readonly CniRoute[] {
  const value = property(json, key);
  return isObject(value) ? list(value, 'routes', readRoute) : [];
}

function readInterface(json: JsonObject): CniInterface {
  const name = text(json, 'name') ?? '';
  const [mac, sandbox, socketPath, pciID] = [text(json, 'mac'), text(json, 'sandbox'), text(json, 'socketPath'), text(json, 'pciID')];
  return { name, ...defined({ mac, mtu: integer(json, 'mtu') || undefined, sandbox, socketPath, pciID }) };
}

function readIp(json: JsonObject): CniIp {
  return {
    ...defined({ interface: integer(json, 'interface') }),
    address: cidr(property(json, 'address'), 'address'),
    ...defined({ gateway: address(property(json, 'gateway'), 'gateway') }),
  };
}

function readRoute(json: JsonObject): CniRoute {
  const [mtu, advmss, priority] = [integer(json, 'mtu'), integer(json, 'advmss'), integer(json, 'priority')];
  return {
    dst: cidr(property(json, 'dst'), 'dst'),
    ...defined({ gw: address(property(json, 'gw'), 'gw'), mtu: mtu || undefined, advmss: advmss || undefined }),
    ...defined({ priority: priority || undefined, table: integer(json, 'table'), scope: integer(json, 'scope') }),
  };
}

function readDns(json: JsonObject): CniDns | undefined {
  const value = property(json, 'dns');
  if (value === undefined || value === null) return undefined;
  const object = requireObject(value, 'dns');
  const [nameservers, search, options] = [strings(object, 'nameservers'), strings(object, 'search'), strings(object, 'options')];
  const dns = defined({ nameservers, domain: text(object, 'domain'), search, options });
  return Object.keys(dns).length === 0 ? undefined : dns;
}

function list<T>(json: JsonObject, key: string, read: (item: JsonObject) => T): readonly T[] {
  const value = property(json, key);
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw malformed(key, value);
  return value.map((item: Json) => read(requireObject(item, key)));
}

function strings(json: JsonObject, key: string): readonly string[] | undefined {
  const value = property(json, key);
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw malformed(key, value);
  return value.length === 0 ? undefined : value;
}

/** '' counts as absent, as in Go's omitempty. */
function text(json: JsonObject, key: string): string | undefined {
  const value = property(json, key) ?? '';
  if (typeof value !== 'string') throw malformed(key, value);
  return value === '' ? undefined : value;
}

function integer(json: JsonObject, key: string): number | undefined {
  const value = property(json, key);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw malformed(key, value);
  return value;
}

function cidr(value: Json | undefined, what: string): string {
  const [host, bits, ...rest] = typeof value === 'string' ? value.split('/') : [];
  const canonical = host === undefined ? undefined : canonicalAddress(host);
  if (canonical === undefined || bits === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits)) throw malformed(what, value);
  const mapped = host?.includes(':') === true && familyOf(canonical) === 4;
  const prefix = Number(bits) - (mapped ? 96 : 0);
  if (prefix < 0 || prefix > (familyOf(canonical) === 4 ? 32 : 128)) throw malformed(what, value);
  return `${canonical}/${prefix}`;
}

function address(value: Json | undefined, what: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const canonical = typeof value === 'string' ? canonicalAddress(value) : undefined;
  if (canonical === undefined) throw malformed(what, value);
  return canonical;
}

/** The shortest spelling of an IP address; undefined for what is none. */
export function canonicalAddress(host: string): string | undefined {
  if (host.includes('%')) return undefined;
  const family = isIP(host);
  if (family === 0) return undefined;
  if (family === 4) return host;
  const { address: canonical } = new SocketAddress({ address: host, family: 'ipv6' });
  // Go prints an IPv4-mapped address as the IPv4 address that it is.
  return canonical.startsWith('::ffff:') && canonical.includes('.') ? canonical.slice('::ffff:'.length) : canonical;
}

function requireObject(value: Json, what: string): JsonObject {
  if (!isObject(value)) throw malformed(what, value);
  return value;
}

function malformed(what: string, value: Json | undefined): Failure {
  return new Failure('Unknown', `failed to unmarshal raw result: invalid ${what}: ${JSON.stringify(value ?? null).slice(0, 200)}`);
}

/** Without the members that are undefined. */
function defined<T extends Record<string, unknown>>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
