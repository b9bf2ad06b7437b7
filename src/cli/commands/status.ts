import { Failure } from '../../errors/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { type RunningOperation, inspectDaemon, socketOption, socketPath } from '../client/index.ts';
import { type Context, EXIT } from '../command.ts';
import { printable } from '../render/index.ts';

type Show = (ask: (path: string) => Promise<string>, id: string | undefined) => Promise<string>;

const TOPICS: readonly { readonly names: readonly string[]; readonly show: Show }[] = [
  { names: ['config', 'c'], show: async (ask) => await ask('/config') },
  { names: ['info', 'i'], show: async (ask) => infoText(JSON.parse(await ask('/info')) as Info) },
  { names: ['operations', 'o'], show: async (ask) => operationsText(JSON.parse(await ask('/v1/operations')) as RunningOperation[]) },
  { names: ['containers', 'container', 'cs', 's'], show: showContainer },
];

export const status = defineCommand({
  words: 'config|info|operations|containers',
  count: [0, 1],
  options: {
    id: { type: 'string', short: 'i', value: 'ID', help: 'The container, by its full id.' },
    ...socketOption,
  },
  details: `Asks the running daemon.

  config        its effective configuration, as TOML
  info          storage, cgroup driver and id mappings
  operations    what is under way on pods and containers, with the step it is at
  containers    what it knows of the container --id`,
  async run({ values, words }, { terminal, env }: Context) {
    if (words.length === 0) return 'help';
    const topic = TOPICS.find(({ names }) => names.includes(words[0] ?? ''));
    if (topic === undefined) throw usage(`No help topic for '${words[0] ?? ''}'`);
    const socket = socketPath(values.socket, env);
    terminal.out.write(await topic.show((path) => inspectDaemon(socket, path), values.id));
    return EXIT.ok;
  },
});

function operationsText(operations: readonly RunningOperation[]): string {
  const lines = operations.map(({ operation, pod, container, name, runningMs, step, inStepMs }) => {
    const what = `${container === undefined ? `pod ${pod}` : `container ${container}`} (${printable(name)})`;
    const at = step === undefined ? '' : `, for ${seconds(inStepMs ?? 0)} in the step "${step}"`;
    return `${operation} of ${what}: ${seconds(runningMs)}${at}`;
  });
  return `${lines.length === 0 ? 'nothing is under way' : lines.join('\n')}\n`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

interface Mapping {
  readonly container_id: number;
  readonly host_id: number;
  readonly size: number;
}

interface Info {
  readonly cgroup_driver: string;
  readonly storage_driver: string;
  readonly storage_root: string;
  readonly storage_image: string;
  readonly default_id_mappings: { readonly uids: readonly Mapping[]; readonly gids: readonly Mapping[] };
}

/** [A192] */
function infoText(info: Info): string {
  const mappings = (kind: string, list: readonly Mapping[]): string[] => [
    `default ${kind} mappings (format <container>:<host>:<size>):`,
    ...list.map((mapping) => `  ${mapping.container_id}:${mapping.host_id}:${mapping.size}`),
  ];
  const lines = [
    `cgroup driver: ${info.cgroup_driver}`,
    `storage driver: ${info.storage_driver}`,
    `storage graph root: ${info.storage_root}`,
    `storage image: ${info.storage_image}`,
    ...mappings('GID', info.default_id_mappings.gids),
    ...mappings('UID', info.default_id_mappings.uids),
  ];
  return `${lines.join('\n')}\n`;
}

interface ContainerInfo {
  readonly name: string;
  readonly pid: number;
  readonly image: string;
  readonly image_ref: string;
  /** Nanoseconds since 1970, more digits than a number keeps: taken from the text. */
  readonly created_time: unknown;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly annotations: Readonly<Record<string, string>> | null;
  readonly crio_annotations: Readonly<Record<string, string>> | null;
  readonly log_path: string;
  readonly root: string;
  readonly sandbox: string;
  readonly ip_addresses: readonly string[] | null;
}

/** [A193] */
async function showContainer(ask: (path: string) => Promise<string>, id: string | undefined): Promise<string> {
  if (id === undefined || id === '')
    throw new Failure('InvalidArgument', 'the argument --id cannot be empty', { advice: 'crio ps -q --all prints ids.' });
  const body = await ask(`/containers/${encodeURIComponent(id)}`);
  const info = JSON.parse(body) as ContainerInfo;
  const created = /"created_time":\s*(\d+)/.exec(body)?.[1] ?? '0';
  const pairs = (heading: string, map: Readonly<Record<string, string>> | null): string[] => [
    `${heading}:`,
    ...Object.entries(map ?? {}).map(([key, value]) => printable(`  ${key}: ${value}`)),
  ];
  const lines = [
    `name: ${info.name}`,
    `pid: ${info.pid}`,
    `image: ${info.image}`,
    `image ref: ${info.image_ref}`,
    `created: ${created}`,
    ...pairs('labels', info.labels),
    ...pairs('annotations', info.annotations),
    ...pairs('CRI-O annotations', info.crio_annotations),
    `log path: ${info.log_path}`,
    `graph root: ${info.root}`,
    `sandbox: ${info.sandbox}`,
    `ips: ${(info.ip_addresses ?? []).join(', ')}`,
  ];
  return `${lines.map(printable).join('\n')}\n`;
}
