import { canonicalAddress } from '../cni/result.ts';
import { type Json, isObject, property } from '../cni/json.ts';
import { type HostPorts, type IpFamily, isAnyAddress, shortHash } from './mappings.ts';

/** The table that CRI-O 1.37 uses; we speak its language exactly, so that either daemon removes what the other made. */
export const TABLE = 'crio-hostports';
export const SETS = ['hostports', 'hostipports', 'hairpins'] as const;
export type SetName = (typeof SETS)[number];

/** An element of one of the maps or of the hairpin set. */
export interface Element {
  readonly family: IpFamily;
  readonly set: SetName;
  /** `tcp . 8080` */
  readonly key: string;
  /** `10.85.0.2 . 80`; undefined in the set. */
  readonly value: string | undefined;
  readonly comment: string;
}

/** Table, maps, set, chains and their rules for one family: makes what is missing, refills the chains [H67–H70]. */
export function ensureScript(family: IpFamily): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const table = `${ip} ${TABLE}`;
  const address = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const target = `${address} . inet_service`;
  const base = (name: string, hook: string, priority: number) =>
    `add chain ${table} ${name} { type nat hook ${hook} priority ${priority} ; }\nflush chain ${table} ${name}\n`;
  return (
    `add table ${table} { comment "HostPort rules created by CRI-O" ; }\n` +
    `add map ${table} hostports { type inet_proto . inet_service : ${target} ; comment "hostports on all local IPs (protocol . hostPort -> podIP . podPort)" ; }\n` +
    `add map ${table} hostipports { type ${address} . inet_proto . inet_service : ${target} ; comment "hostports on specific IPs (hostIP . protocol . hostPort -> podIP . podPort)" ; }\n` +
    `add set ${table} hairpins { type ${address} . ${address} ; comment "hostport hairpin connections" ; }\n` +
    `add chain ${table} hostports\nflush chain ${table} hostports\n` +
    // The map of specific addresses first: the other one catches every address.
    `add rule ${table} hostports dnat ${ip} addr . port to ${ip} daddr . meta l4proto . th dport map @hostipports\n` +
    `add rule ${table} hostports dnat ${ip} addr . port to meta l4proto . th dport map @hostports\n` +
    base('prerouting', 'prerouting', -100) +
    `add rule ${table} prerouting fib daddr type local goto hostports\n` +
    base('output', 'output', -100) +
    `add rule ${table} output fib daddr type local goto hostports\n` +
    base('masquerading', 'postrouting', 100) +
    // Parenthesised, unlike CRI-O's: nft 1.0.6 reads that as `(status & dnat) | snat == dnat`, which is never so.
    `add rule ${table} masquerading ct status & (dnat|snat) == dnat ${ip} saddr . ${ip} daddr @hairpins masquerade\n`
  );
}

/** The elements of a pod, marked by its comment [H71]. */
export function elementsOf({ sandboxId, family, podIp, mappings }: HostPorts): readonly Element[] {
  const comment = shortHash(sandboxId);
  const ports = mappings.map(({ hostIp, protocol, hostPort, containerPort }): Element => {
    const port = `${protocol.toLowerCase()} . ${hostPort}`;
    const value = `${podIp} . ${containerPort}`;
    if (isAnyAddress(hostIp)) return { family, set: 'hostports', key: port, value, comment };
    return { family, set: 'hostipports', key: `${canonicalAddress(hostIp) ?? hostIp} . ${port}`, value, comment };
  });
  return [...ports, { family, set: 'hairpins', key: `${podIp} . ${podIp}`, value: undefined, comment }];
}

export function addScript(elements: readonly Element[]): string {
  return elements
    .map((e) => `add element ${place(e)} { ${e.key} comment "${e.comment}"${e.value === undefined ? '' : ` : ${e.value}`} }\n`)
    .join('');
}

export function deleteScript(elements: readonly Element[]): string {
  return elements.map((e) => `delete element ${place(e)} { ${e.key} }\n`).join('');
}

function place({ family, set }: Element): string {
  return `${family === 4 ? 'ip' : 'ip6'} ${TABLE} ${set}`;
}

/**
 * The elements in `nft -j list table`. A map's are pairs of key and value, a set's are keys; a key with a comment is
 * `{elem: {val, comment}}`. What has another shape is not ours and left out.
 */
export function parseElements(text: string, family: IpFamily): readonly Element[] {
  const json = JSON.parse(text) as Json;
  const objects = isObject(json) ? property(json, 'nftables') : undefined;
  if (!Array.isArray(objects)) return [];
  return objects.flatMap((object: Json) => {
    const body = isObject(object) ? (property(object, 'map') ?? property(object, 'set')) : undefined;
    if (body === undefined || !isObject(body)) return [];
    const set = SETS.find((name) => name === property(body, 'name'));
    const elements = property(body, 'elem');
    if (set === undefined || !Array.isArray(elements)) return [];
    return elements.flatMap((element: Json) => parseElement(element, family, set));
  });
}

function parseElement(json: Json, family: IpFamily, set: SetName): readonly Element[] {
  const [left, right] = set === 'hairpins' ? [json, undefined] : Array.isArray(json) ? [json[0] as Json, json[1] as Json] : [];
  const elem = isObject(left) ? property(left, 'elem') : undefined;
  const [val, comment] = isObject(elem) ? [property(elem, 'val'), property(elem, 'comment')] : [left, ''];
  const key = concatenation(val);
  const value = right === undefined ? undefined : concatenation(right);
  return key === undefined ? [] : [{ family, set, key, value, comment: typeof comment === 'string' ? comment : '' }];
}

function concatenation(json: Json | undefined): string | undefined {
  const parts = isObject(json) ? property(json, 'concat') : undefined;
  if (!Array.isArray(parts)) return undefined;
  return parts.every((part) => typeof part === 'string' || typeof part === 'number') ? parts.join(' . ') : undefined;
}
