import { posix } from 'node:path';
import { annotation, createdAnnotation, infraName, jsonAnnotation, stringMapAnnotation } from '../containers/index.ts';
import { Failure } from '../errors/index.ts';
import type { SandboxId } from '../ids/index.ts';
import { NAMESPACE_KINDS, type PinKind } from '../linux/index.ts';
import type { CniResult, PortMapping } from '../network/index.ts';
import type { IdMappings, OciIdMapping, OciSpec, PodSandboxMetadata, UserNamespace } from '../oci/spec/index.ts';
import type { ContainerRecord } from '../storage/index.ts';
import type { PodContext } from './context.ts';
import type { SandboxFacts } from './sandbox.ts';
import { namesHostIds } from './userns/index.ts';

/** A pod as its config.json tells it: the annotations that CRI-O needs must be there [D179]. */
export function factsFromSpec(
  ctx: PodContext,
  record: ContainerRecord,
  spec: OciSpec,
  paths: { readonly directory: string; readonly runDirectory: string },
): SandboxFacts {
  const name = annotation(spec, 'Name') ?? '';
  if (name === '') throw new Failure('Unknown', 'sandbox name annotation cannot be empty');
  const metadata = metadataFromSpec(spec);
  const namespaceOptions = namespaceOptionsFromSpec(spec);
  const runtimeHandler = annotation(spec, 'RuntimeHandler') ?? '';
  const annotations = stringMapAnnotation(spec, 'Annotations');
  return {
    id: record.id as string as SandboxId,
    name,
    infraName: annotation(spec, 'ContainerName') ?? infraName(metadata),
    metadata,
    labels: stringMapAnnotation(spec, 'Labels'),
    annotations,
    createdAt: createdAnnotation(spec),
    hostname: annotation(spec, 'HostName') ?? '',
    namespaceOptions,
    pins: pinsFromSpec(spec),
    idMappings: idMappingsFromSpec(spec),
    namesHostIds: namesHostIds({ namespaceOptions }, annotations, ctx.settings.userns),
    hostNetwork: annotation(spec, 'HostNetwork') === 'true',
    privileged: annotation(spec, 'PrivilegedRuntime') === 'true',
    cgroupParent: annotation(spec, 'CgroupParent') ?? '',
    cgroupsPath: spec.linux.cgroupsPath ?? '',
    portMappings: portMappingsFromSpec(spec),
    logDirectory: posix.dirname(annotation(spec, 'LogPath') ?? '/'),
    resolvPath: annotation(spec, 'ResolvPath') ?? '',
    hostnamePath: annotation(spec, 'HostnamePath') ?? '',
    shmPath: annotation(spec, 'ShmPath') ?? '',
    runtimeHandler,
    runtime: ctx.runtimes.get(runtimeHandler),
    spec,
    ...paths,
  };
}

function metadataFromSpec(spec: OciSpec): PodSandboxMetadata {
  const json = (jsonAnnotation(spec, 'Metadata') ?? {}) as Record<string, unknown>;
  const text = (key: string) => {
    const value = json[key];
    if (typeof value !== 'string' || value === '') throw new Failure('Unknown', `sandbox metadata ${key} cannot be empty`);
    return value;
  };
  return {
    name: text('name'),
    namespace: text('namespace'),
    uid: text('uid'),
    attempt: typeof json['attempt'] === 'number' ? json['attempt'] : 0,
  };
}

function namespaceOptionsFromSpec(spec: OciSpec): SandboxFacts['namespaceOptions'] {
  const json = (jsonAnnotation(spec, 'NamespaceOptions') ?? {}) as Record<string, unknown>;
  const number = (key: string) => (typeof json[key] === 'number' ? json[key] : 0);
  return {
    network: number('network'),
    pid: number('pid'),
    ipc: number('ipc'),
    targetId: typeof json['target_id'] === 'string' ? json['target_id'] : '',
    usernsOptions: usernsOptionsFromJson(json['userns_options']),
  };
}

/** As `namespaceOptionsJson` wrote it: what is zero is left out. */
function usernsOptionsFromJson(json: unknown): UserNamespace | undefined {
  if (json === null || typeof json !== 'object') return undefined;
  const { mode, uids, gids } = json as Record<string, unknown>;
  const number = (value: unknown) => (typeof value === 'number' ? value : 0);
  const mappings = (list: unknown) =>
    (Array.isArray(list) ? list : []).map((entry: Record<string, unknown>) => ({
      hostId: number(entry['host_id']),
      containerId: number(entry['container_id']),
      length: number(entry['length']),
    }));
  return { mode: number(mode), uids: mappings(uids), gids: mappings(gids) };
}

/** The spec has them whoever chose them; one without is in the host's user namespace [G92]. */
function idMappingsFromSpec({ linux }: OciSpec): IdMappings | undefined {
  const convert = (maps: readonly OciIdMapping[] = []) =>
    maps.map(({ containerID, hostID, size }) => ({ containerId: containerID, hostId: hostID, length: size }));
  const [uids, gids] = [convert(linux.uidMappings), convert(linux.gidMappings)];
  return uids.length === 0 || gids.length === 0 ? undefined : { uids, gids };
}

const KIND_OF: Readonly<Record<string, PinKind>> = { network: 'net', ipc: 'ipc', uts: 'uts', user: 'user' };

function pinsFromSpec(spec: OciSpec): SandboxFacts['pins'] {
  const pins: Partial<Record<PinKind, string>> = {};
  for (const { type, path } of spec.linux.namespaces) {
    const kind = KIND_OF[type];
    if (kind !== undefined && path !== undefined) pins[kind] = path;
  }
  // The host's namespaces are pinned too, but a spec need not name them; all pins of a pod carry one uuid.
  const uts = /^(.*)\/utsns\/([^/]+)$/.exec(pins.uts ?? '');
  if (uts !== null) for (const kind of NAMESPACE_KINDS) pins[kind] ??= `${uts[1]}/${kind}ns/${uts[2]}`;
  return pins;
}

function portMappingsFromSpec(spec: OciSpec): PortMapping[] {
  const json = jsonAnnotation(spec, 'PortMappings');
  if (!Array.isArray(json)) return [];
  return json.map((entry: Record<string, unknown>) => ({
    hostPort: Number(entry['HostPort'] ?? 0),
    containerPort: Number(entry['ContainerPort'] ?? 0),
    protocol: entry['Protocol'] === 'UDP' || entry['Protocol'] === 'SCTP' ? entry['Protocol'] : 'TCP',
    hostIp: typeof entry['HostIP'] === 'string' ? entry['HostIP'] : '',
  }));
}

export function cniResultOf(spec: OciSpec): CniResult | undefined {
  const text = annotation(spec, 'CNIResult');
  return text === undefined || text === '' ? undefined : (JSON.parse(text) as CniResult);
}
