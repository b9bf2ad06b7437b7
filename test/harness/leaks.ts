import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseMountInfo } from '../../src/linux/index.ts';
import { cgroupsBelow, cgroupsNaming } from './cgroups.ts';
import type { Machine } from './machine.ts';
import { cacheDir } from './tools.ts';

const STORE = '/var/lib/containers/storage';

export interface Subject {
  /** The daemon's PID as the machine sees it. */
  readonly daemon: number | undefined;
  /** Pods and containers whose cgroups may stand anywhere. */
  readonly ids: ReadonlySet<string>;
}

/** Everything on a machine that a pod, a container or a request could have left behind, one line each. */
export async function traces(machine: Machine, subject: Subject): Promise<Set<string>> {
  const links = JSON.parse((await machine.exec(['ip', '-j', 'link'])).stdout.toString('utf8')) as { ifname: string }[];
  const rules = (await machine.exec(['nft', 'list', 'ruleset'])).stdout.toString('utf8');
  return new Set([
    ...mountPoints(machine).map((mountPoint) => `mount ${mountPoint}`),
    ...links.filter((link) => !STAYING_LINKS.test(link.ifname)).map((link) => `network interface ${link.ifname}`),
    ...rules
      .split('\n')
      .filter((line) => ADDRESS.test(line))
      .map((line) => `nft rule ${line.trim()}`),
    ...processes(machine, subject.daemon).map((line) => `process ${line}`),
    ...[...cgroupsBelow(machine.cgroup).filter((cgroup) => !OF_THE_KUBELET.test(cgroup)), ...cgroupsNaming(subject.ids)].map(
      (cgroup) => `cgroup ${cgroup}`,
    ),
    ...['/run', '/var/lib/cni'].flatMap((dir) => files(machine, dir)).map((file) => `file ${file}`),
    ...storeRecords(machine.path(STORE)),
  ]);
}

/**
 * What is there now and was not there before. Processes that were told to end need a moment, and nobody tells when
 * the last of them has gone, so the machine is looked at again for up to three seconds.
 */
export async function leaksSince(before: ReadonlySet<string>, machine: Machine, subject: Subject): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    const now = await traces(machine, subject);
    const leaks = [...now].filter((trace) => !before.has(trace));
    if (leaks.length === 0 || tries === 30) return leaks;
    await delay(100);
  }
}

/** Pods' own cgroups are made for whoever runs the pods, and theirs to remove. */
const OF_THE_KUBELET = /^\w*:\/crio-test-[^/]*(\/pod[0-9a-f-]{36})?\/?$/;
/** The bridge of the CNI configuration stays with the node, as do loopback and the kernel's fall-back tunnels. */
const STAYING_LINKS = /^(lo|cni\d|\w+0@NONE|tunl0|sit0|ip6tnl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|ip6gre0)$/;
/** A pod's address in a rule: those of the pods' network (node.ts), but for the rules about the network as a whole. */
const ADDRESS = /\b10\.85\.\d+\.\d+(?!\/16)\b/;

/** Files that belong to the daemon or to the node, not to one pod. */
const STAYING_FILES = [
  /\.lock$/, // Lock files are never removed: whoever waits for one must find the same inode.
  /^\/run\/(mount|lock)\//,
  /^\/run\/crio\/(crio\.sock|version|crio\.lock)$/,
  /^\/run\/containers\/storage\/(overlay-layers|overlay-images|overlay-containers|overlay-locks)\/[^/]*$/,
  /^\/var\/lib\/cni\/networks\/[^/]+\/(lock|last_reserved_ip\.\d)$/,
  /^\/run\/xtables\.lock$/,
];

function files(machine: Machine, dir: string): string[] {
  const top = machine.path(dir);
  if (!existsSync(top)) return [];
  return readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(dir, entry.parentPath.slice(top.length), entry.name))
    .filter((file) => !STAYING_FILES.some((staying) => staying.test(file)));
}

function mountPoints(machine: Machine): string[] {
  const points = parseMountInfo(readFileSync(`/proc/${machine.init}/mountinfo`, 'utf8')).map((mount) => mount.mountPoint);
  // A root that is being built there had its mounts when the machine started, and is renamed when it is finished.
  return points.filter((point) => !point.startsWith(`${cacheDir}/`));
}

/** Monitors, containers, helpers, and children that nobody has waited for; the daemon itself is none. */
function processes(machine: Machine, daemon: number | undefined): string[] {
  const proc = machine.path('/proc');
  const found: string[] = [];
  for (const pid of readdirSync(proc)) {
    if (!/^\d+$/.test(pid) || Number(pid) === daemon) continue;
    try {
      const command = readFileSync(join(proc, pid, 'cmdline'), 'utf8')
        .replaceAll('\0', ' ')
        .trim();
      found.push(`${pid} ${command === '' ? readFileSync(join(proc, pid, 'comm'), 'utf8').trim() : command}`);
    } catch (error) {
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return found;
}

interface LayerRecord {
  readonly id: string;
  readonly parent?: string;
}

/** Containers of the store, and layers, directories and short links that no image accounts for. */
function storeRecords(store: string): string[] {
  const records = <T>(file: string): T[] => {
    const path = join(store, file);
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T[]) : [];
  };
  const list = (dir: string) => (existsSync(join(store, dir)) ? readdirSync(join(store, dir)) : []);
  const parents = new Map(
    ['overlay-layers/layers.json', 'overlay-layers/volatile-layers.json']
      .flatMap((file) => records<LayerRecord>(file))
      .map((layer) => [layer.id, layer.parent]),
  );
  const ofImages = new Set<string>();
  for (const image of records<{ layer?: string; 'mapped-layers'?: string[] }>('overlay-images/images.json')) {
    for (const top of [image.layer, ...(image['mapped-layers'] ?? [])]) {
      for (let layer = top; layer !== undefined && layer !== '' && !ofImages.has(layer); layer = parents.get(layer)) ofImages.add(layer);
    }
  }
  const containers = ['overlay-containers/containers.json', 'overlay-containers/volatile-containers.json'].flatMap((file) =>
    records<{ id: string }>(file),
  );
  return [
    ...containers.map(({ id }) => `container record ${id}`),
    ...list('overlay-containers')
      .filter((name) => HEX.test(name))
      .map((name) => `container directory ${name}`),
    ...[...parents.keys()].filter((id) => !ofImages.has(id)).map((id) => `layer record ${id}`),
    ...list('overlay')
      .filter((name) => HEX.test(name) && !ofImages.has(name))
      .map((name) => `layer directory ${name}`),
    ...list('overlay/tempdirs').map((name) => `staging directory ${name}`),
    ...list('overlay/l')
      .filter((name) => !ofImages.has(readlinkSync(join(store, 'overlay/l', name)).split('/')[1] ?? ''))
      .map((name) => `short link ${name}`),
  ];
}

const HEX = /^[0-9a-f]{64}$/;
