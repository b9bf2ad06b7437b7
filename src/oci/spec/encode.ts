import { parseExactJson, stringifyExactJson } from '../../files/index.ts';
import { Failure, textOf } from '../../errors/index.ts';
import type { IDMapping, LinuxContainerResources, NamespaceOption, PortMapping, StringMap } from './request.ts';
import { Protocol } from './request.ts';
import type { OciSpec } from './types.ts';

/** config.json as CRI-O saves it: tab-indented, Go's string escapes, 64-bit integers exact [F3, D78]. */
export function encodeSpec(spec: OciSpec): string {
  return stringifyExactJson(spec, '\t');
}

/**
 * A config.json read back. Only that it is an object with `process` and `linux` is checked: fields that we do
 * not know stay in it, so that writing it again loses nothing. Fails with kind Internal.
 */
export function decodeSpec(text: string): OciSpec {
  let value: unknown;
  try {
    value = parseExactJson(text);
  } catch (error) {
    throw new Failure('Internal', `config.json: ${textOf(error)}`, { cause: error });
  }
  const spec = value as Partial<OciSpec> | null;
  if (typeof spec !== 'object' || spec === null || !isObject(spec.process) || !isObject(spec.linux))
    throw new Failure('Internal', 'config.json has no process or no linux section');
  spec.annotations ??= {};
  spec.mounts ??= [];
  spec.linux.namespaces ??= [];
  return spec as OciSpec;
}

function isObject<T>(value: T | null | undefined): value is T {
  return typeof value === 'object' && value !== null;
}

/** `{"k":"v"}`: any key is safe, `__proto__` too [P48, P89, a76]. */
export function mapJson(map: StringMap): string {
  return `{${[...map].map(([key, value]) => `${stringifyExactJson(key)}:${stringifyExactJson(value)}`).join(',')}}`;
}

/** Go's struct JSON: fields in order, those that hold a zero value left out. */
function structJson(fields: Readonly<Record<string, unknown>>): string {
  const isZero = (v: unknown) => v === undefined || v === '' || v === 0 || v === 0n || v === false || (Array.isArray(v) && v.length === 0);
  return stringifyExactJson(Object.fromEntries(Object.entries(fields).filter(([, value]) => !isZero(value))));
}

/** `{"name":"p","uid":"u","namespace":"n","attempt":1}`, also a container's `{"name":"c"}` [P47, P88]. */
export function metadataJson(m: { name: string; uid?: string; namespace?: string; attempt: number } | undefined): string {
  return structJson({ name: m?.name, uid: m?.uid, namespace: m?.namespace, attempt: m?.attempt });
}

/** `{"pid":1}`: numbers, zero left out [P62]. */
export function namespaceOptionsJson(options: NamespaceOption | undefined): string {
  const userns = options?.usernsOptions;
  const userNamespace = userns && {
    ...(userns.mode === 0 ? {} : { mode: userns.mode }),
    ...(userns.uids.length === 0 ? {} : { uids: userns.uids.map(idMapping) }),
    ...(userns.gids.length === 0 ? {} : { gids: userns.gids.map(idMapping) }),
  };
  return structJson({
    network: options?.network,
    pid: options?.pid,
    ipc: options?.ipc,
    target_id: options?.targetId,
    userns_options: userNamespace,
  });
}

function idMapping(mapping: IDMapping): Record<string, number> {
  const fields = { host_id: mapping.hostId, container_id: mapping.containerId, length: mapping.length };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== 0));
}

/** The list with Go field names; entries without a host port are left out [D56, P63]. */
export function portMappingsJson(mappings: readonly PortMapping[]): string {
  const names = new Map<number, string>(Object.entries(Protocol).map(([name, value]) => [value, name]));
  return stringifyExactJson(
    mappings
      .filter((mapping) => mapping.hostPort > 0)
      .map((mapping) => ({
        HostPort: mapping.hostPort,
        ContainerPort: mapping.containerPort,
        Protocol: names.get(mapping.protocol) ?? 'TCP',
        HostIP: mapping.hostIp,
      })),
  );
}

/** LinuxContainerResources with snake_case keys, or `null` [P71]. */
export function resourcesJson(resources: LinuxContainerResources | undefined): string {
  if (resources === undefined) return 'null';
  return structJson({
    cpu_period: resources.cpuPeriod,
    cpu_quota: resources.cpuQuota,
    cpu_shares: resources.cpuShares,
    memory_limit_in_bytes: resources.memoryLimitInBytes,
    oom_score_adj: resources.oomScoreAdj,
    cpuset_cpus: resources.cpusetCpus,
    cpuset_mems: resources.cpusetMems,
    hugepage_limits: resources.hugepageLimits.map((h) => ({ page_size: h.pageSize, ...(h.limit === 0n ? {} : { limit: h.limit }) })),
    unified: resources.unified.size === 0 ? undefined : Object.fromEntries(resources.unified),
    memory_swap_limit_in_bytes: resources.memorySwapLimitInBytes,
  });
}
