import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Config } from '../../config/index.ts';
import { type Container, pauseContainer, unpauseContainer } from '../../containers/index.ts';
import { kindOf, textOf } from '../../errors/index.ts';
import type { IDMapping } from '../../oci/spec/index.ts';
import { type Debris, type PodContext, configuredMappings } from '../../pods/index.ts';
import type { PullBoard } from './pulls.ts';
import { describeRunning, describeTimeline } from './timeline.ts';

export interface InspectSources {
  readonly config: Config;
  /** The configuration in effect as TOML. */
  readonly serialize: () => string;
  readonly pulls: PullBoard;
}

/** The inspect API: HTTP/1 on the CRI socket [C73–C78]. */
export function inspectApi(sources: InspectSources): {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  readonly attach: (pods: PodContext, debris: Debris) => void;
} {
  let node: { readonly pods: PodContext; readonly debris: Debris } | undefined;
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    if (request.method !== 'GET') return plain(response, 405, '');
    const path = (request.url ?? '/').replace(/[?#].*$/s, ''); // Not `new URL`: it throws at what a client may send, `//`.
    if (path === '/info') return json(response, info(sources.config));
    if (path === '/config') return send(response, 200, 'application/toml', sources.serialize());
    if (path === '/v1/pulls') return sources.pulls.listen(response);
    if (path === '/v1/operations' && node !== undefined) return json(response, describeRunning(node.pods.tracer));
    if (path === '/v1/debris' && node !== undefined) return json(response, describeDebris(node.debris));
    const timeline = /^\/v1\/timeline\/([0-9a-f]+)$/.exec(path)?.[1];
    if (timeline !== undefined && node !== undefined) {
      const operations = describeTimeline(node.pods.tracer, timeline);
      return operations === undefined
        ? plain(response, 404, `nothing is known of what was done to pod ${timeline}`)
        : json(response, operations);
    }
    const change = /^\/(pause|unpause)\/([^/]+)$/.exec(path);
    if (change !== null)
      return void freeze(response, node?.pods.containers.registry.get(change[2] ?? ''), change[1] === 'pause', change[2] ?? '');
    const id = /^\/containers\/([^/]+)$/.exec(path)?.[1];
    if (id === undefined) return plain(response, 404, '404 page not found');
    const found = node === undefined ? undefined : describeContainer(node.pods, id);
    if (found === undefined) return plain(response, 404, `can't find the container with id ${id}`);
    return json(response, found);
  };
  return { handle, attach: (pods, debris) => void (node = { pods, debris }) };
}

/** [C82, C83, K65] */
async function freeze(response: ServerResponse, container: Container | undefined, pause: boolean, id: string): Promise<void> {
  if (container === undefined) return plain(response, 404, `can't find the container with id ${id}`);
  try {
    await (pause ? pauseContainer(container) : unpauseContainer(container));
    send(response, 200, 'text/html', '200 OK');
  } catch (error) {
    plain(response, kindOf(error) === 'FailedPrecondition' ? 409 : 500, textOf(error));
  }
}

/** [C75, C76] */
function info(config: Config) {
  const full = [{ containerId: 0, hostId: 0, length: 4294967295 }];
  const { uids, gids } = configuredMappings(config.runtime.uidMappings, config.runtime.gidMappings) ?? { uids: full, gids: full };
  return {
    storage_driver: config.crio.storageDriver === '' ? 'overlay' : config.crio.storageDriver,
    storage_image: config.crio.imagestore,
    storage_root: config.crio.root,
    cgroup_driver: config.runtime.cgroupManager,
    default_id_mappings: { uids: uids.map(range), gids: gids.map(range) },
  };
}

function range({ containerId, hostId, length }: IDMapping) {
  return { container_id: containerId, host_id: hostId, size: length };
}

/** What could not be removed so far and is tried again (p02). */
function describeDebris(debris: Debris) {
  return debris.list().map(({ what, since, tries, error }) => ({ what, since: new Date(since).toISOString(), tries, error }));
}

/** [C78] A pod's id addresses its infra container. */
function describeContainer(pods: PodContext, id: string) {
  const container: Container | undefined = pods.containers.registry.monitored(id);
  const sandbox = pods.registry.get(container?.facts.pod.id ?? id);
  const facts = container?.facts ?? (sandbox === undefined ? undefined : { ...sandbox.facts, image: undefined, pod: sandbox, logPath: '' });
  if (facts === undefined || sandbox === undefined) return undefined;
  return {
    name: facts.name,
    pid: container?.init?.pid ?? 0,
    image: facts.image?.requested ?? '',
    image_ref: facts.image?.id ?? '',
    created_time: Number(facts.createdAt),
    labels: Object.fromEntries(facts.labels),
    annotations: Object.fromEntries(facts.annotations),
    crio_annotations: facts.spec.annotations,
    log_path: facts.logPath,
    root: facts.spec.root.path,
    sandbox: sandbox.id,
    ip_addresses: sandbox.ips,
    host_network: sandbox.facts.hostNetwork,
  };
}

function json(response: ServerResponse, value: unknown): void {
  send(response, 200, 'application/json', JSON.stringify(value));
}

function plain(response: ServerResponse, code: number, text: string): void {
  send(response, code, 'text/plain; charset=utf-8', text === '' ? '' : `${text}\n`);
}

function send(response: ServerResponse, code: number, type: string, body: string): void {
  response.writeHead(code, { 'content-type': type });
  response.end(body);
}
