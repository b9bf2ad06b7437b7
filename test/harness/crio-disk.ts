import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './expect.ts';
import { BUSYBOX, type TestNode, imageReference } from './node.ts';

/** The recorded state of a CRI-O 1.37 node: two pods, three containers (its README tells which). */
export const RECORDED = fileURLToPath(new URL('../fixtures/takeover/', import.meta.url));
const STORE = '/var/lib/containers/storage';
const RUN = '/run/containers/storage';
const PAUSE_PID = '21469';

export const recordedText = (path: string): string => readFileSync(join(RECORDED, path), 'utf8');
export const recordedJson = <T>(path: string): T => JSON.parse(recordedText(path)) as T;

const [, WEB = '', SHARED = '', , MAIN = '', ONCE = '', SIDE = ''] = recordedText('ids.txt').trim().split(' ');
export const RECORDED_IDS = { WEB, SHARED, MAIN, ONCE, SIDE } as const;
const PINS = { [WEB]: '139124c0-f252-402c-82d9-e878c8b1c0dc', [SHARED]: '9bbad72b-3181-42ff-afca-cbd4ec3ed5f5' };

interface StoreRecord {
  readonly id: string;
  readonly image?: string;
  readonly layer?: string;
  readonly names?: readonly string[];
}

/**
 * Makes a node what it was when CRI-O was recorded, without any daemon: its disk in CRI-O's format, namespaces, network, host ports,
 * and the containers, which really run, each under a conmon with CRI-O's command line. Images are the node's own. The answer
 * adapts a recorded text to this node.
 */
export async function layCrioNode(node: TestNode): Promise<(text: string) => string> {
  const laying = new Laying(node);
  laying.storage();
  await laying.mounts();
  await laying.namespacesAndNetwork();
  laying.daemonFiles();
  await laying.run(SHARED);
  laying.pausePid = laying.pidOf(SHARED);
  for (const id of [MAIN, ONCE, SIDE]) await laying.run(id);
  await laying.ended(ONCE);
  return laying.adapt;
}

class Laying {
  readonly #node: TestNode;
  readonly #images: ReadonlyMap<string, StoreRecord>;
  pausePid = PAUSE_PID;

  constructor(node: TestNode) {
    this.#node = node;
    const images = JSON.parse(node.read(`${STORE}/overlay-images/images.json`)) as StoreRecord[];
    const named = (name: string) => images.find((image) => image.names?.includes(name)) ?? assert.fail(`no image ${name}`);
    const recorded = recordedJson<StoreRecord[]>(`fs${STORE}/overlay-images/images.json`);
    const ours = (image: StoreRecord) =>
      named(image.names?.some((name) => name.includes('pause')) === true ? imageReference('pause') : BUSYBOX);
    this.#images = new Map(recorded.map((image) => [image.id, ours(image)]));
  }

  readonly adapt = (text: string): string => {
    const images = [...this.#images].reduce((all, [from, { id }]) => all.replaceAll(from, id), text);
    return images
      .replaceAll('registry.k8s.io/pause:3.10.1', imageReference('pause'))
      .replaceAll('registry.k8s.io/e2e-test-images/busybox:1.29-2', BUSYBOX)
      .replaceAll('/kubepods/burstable', this.#node.machine.cgroup)
      .replaceAll('/kubepods/besteffort', this.#node.machine.cgroup)
      .replaceAll(`/proc/${PAUSE_PID}/`, `/proc/${this.pausePid}/`);
  };

  #recorded(path: string): string {
    return this.adapt(recordedText(`fs${path}`));
  }

  /** Records, layers' directories, and each container's two directories, all but the state.json of what runs. */
  storage(): void {
    const layers = JSON.parse(this.#recorded(`${STORE}/overlay-layers/volatile-layers.json`)) as StoreRecord[];
    const containers = JSON.parse(this.#recorded(`${STORE}/overlay-containers/volatile-containers.json`)) as StoreRecord[];
    const parents = new Map(
      containers.map(({ layer = '', image }) => [layer, [...this.#images.values()].find(({ id }) => id === image)?.layer]),
    );
    const adapted = layers.map((layer) => ({ ...layer, parent: parents.get(layer.id) }));
    this.#node.write(`${STORE}/overlay-layers/volatile-layers.json`, JSON.stringify(adapted));
    this.#node.write(`${STORE}/overlay-containers/volatile-containers.json`, JSON.stringify(containers));
    this.#node.write(`${RUN}/overlay-layers/mountpoints.json`, this.#recorded(`${RUN}/overlay-layers/mountpoints.json`));
    for (const { id } of layers) this.#layer(id, parents.get(id) ?? '');
    for (const { id } of containers) {
      for (const root of [STORE, RUN]) {
        const directory = `${root}/overlay-containers/${id}/userdata`;
        mkdirSync(this.#node.path(directory), { recursive: true, mode: 0o700 });
        for (const name of readdirSync(join(RECORDED, 'fs', directory)))
          if (!/^(exit|pidfile|conmon-pidfile)$/.test(name))
            this.#node.write(`${directory}/${name}`, this.#recorded(`${directory}/${name}`));
      }
    }
    // What the recording leaves out because it is empty.
    this.#node.write(`${RUN}/overlay-containers/${WEB}/userdata/.containerenv`, '');
    this.#node.write(`${STORE}/overlay-containers/${SHARED}/userdata/.containerenv`, '');
  }

  #layer(id: string, parent: string): void {
    const home = this.#node.path(`${STORE}/overlay`);
    const link = recordedText(`fs${STORE}/overlay/${id}/link`);
    const parentLower = join(home, parent, 'lower');
    for (const name of ['', 'diff', 'work', 'merged']) mkdirSync(join(home, id, name), { mode: name === 'diff' ? 0o555 : 0o700 });
    writeFileSync(join(home, id, 'link'), link);
    const below = existsSync(parentLower) ? [readFileSync(parentLower, 'utf8')] : [];
    writeFileSync(join(home, id, 'lower'), [`l/${readFileSync(join(home, parent, 'link'), 'utf8')}`, ...below].join(':'));
    symlinkSync(`../${id}/diff`, join(home, 'l', link));
  }

  async mounts(): Promise<void> {
    const home = `${STORE}/overlay`;
    for (const { id } of JSON.parse(this.#node.read(`${STORE}/overlay-layers/volatile-layers.json`)) as StoreRecord[])
      await this.#mount(home, id);
    for (const id of [WEB, SHARED]) {
      const shm = `${RUN}/overlay-containers/${id}/userdata/shm`;
      mkdirSync(this.#node.path(shm));
      await this.#node.exec(['mount', '-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,mode=1777,size=65536k', 'shm', shm]);
    }
  }

  async #mount(home: string, id: string): Promise<void> {
    const lowers = this.#node
      .read(`${home}/${id}/lower`)
      .split(':')
      .map((lower) => `${home}/${lower}`);
    const options = `lowerdir=${lowers.join(':')},upperdir=${home}/${id}/diff,workdir=${home}/${id}/work,volatile`;
    await this.#node.exec(['mount', '-t', 'overlay', '-o', options, 'overlay', `${home}/${id}/merged`]);
  }

  async namespacesAndNetwork(): Promise<void> {
    const node = this.#node;
    for (const [id, pin] of Object.entries(PINS)) {
      const pins = ['net', 'ipc', 'uts'].map((kind) => `/run/${kind}ns/${pin}`);
      for (const path of pins) node.write(path, '');
      await node.exec(['unshare', `--net=${pins[0]}`, `--ipc=${pins[1]}`, `--uts=${pins[2]}`, 'sh', '-c', 'ip link set lo up']);
      if (id === WEB) await node.exec(['nsenter', `--net=${pins[0]}`, 'sysctl', '-qw', 'net.ipv4.ip_unprivileged_port_start=0']);
      await this.#attach(id, `/var/run/netns/${pin}`);
    }
    const ruleset =
      /^table ip crio-hostports \{.*?^\}/ms.exec(recordedText('kernel/nft.txt'))?.[0] ?? assert.fail('no table of host ports');
    await node.exec(['nft', '-f', '-'], { stdin: ruleset });
  }

  /** CNI ADD down the recorded configuration, as libcni does it, and its cache file. */
  async #attach(id: string, netns: string): Promise<void> {
    const cache = `/var/lib/cni/results/crio-bridge-${id}-eth0`;
    const cached = JSON.parse(this.#recorded(cache)) as { config: string; cniArgs: [string, string][]; result: unknown };
    const config = JSON.parse(Buffer.from(cached.config, 'base64').toString('utf8')) as {
      cniVersion: string;
      name: string;
      plugins: { type: string }[];
    };
    let result: unknown;
    for (const plugin of config.plugins) {
      const { cniVersion, name } = config;
      const stdin = JSON.stringify({ ...plugin, cniVersion, name, ...(result === undefined ? {} : { prevResult: result }) });
      const env = [
        'CNI_COMMAND=ADD',
        `CNI_CONTAINERID=${id}`,
        `CNI_NETNS=${netns}`,
        'CNI_IFNAME=eth0',
        'CNI_PATH=/usr/lib/cni',
        `CNI_ARGS=${cached.cniArgs.map((pair) => pair.join('=')).join(';')}`,
      ];
      const { stdout } = await this.#node.exec(['env', ...env, `/usr/lib/cni/${plugin.type}`], { stdin });
      result = JSON.parse(stdout.toString('utf8'));
    }
    this.#node.write(cache, JSON.stringify({ ...cached, result }));
  }

  daemonFiles(): void {
    const node = this.#node;
    copyFileSync(join(RECORDED, 'fs/10-bridge.conflist'), node.path('/etc/cni/net.d/10-bridge.conflist'));
    node.write('/run/crio/version', recordedText('fs/run/crio/version'));
    node.write('/var/lib/crio/clean.shutdown.supported', '');
    rmSync(node.path('/var/lib/crio/clean.shutdown'), { force: true });
    mkdirSync(node.path('/run/crio/exits'), { recursive: true });
  }

  /** conmon, runc create, runc start, and the state.json that CRI-O writes then. */
  async run(id: string): Promise<void> {
    const node = this.#node;
    const directory = `${RUN}/overlay-containers/${id}/userdata`;
    const spec = this.#recorded(`${directory}/config.json`);
    node.write(`${directory}/config.json`, spec);
    const { annotations } = JSON.parse(spec) as { annotations: Record<string, string> };
    const name = annotations['io.kubernetes.cri-o.ContainerType'] === 'sandbox' ? 'ContainerName' : 'Name';
    const log = annotations['io.kubernetes.cri-o.LogPath'] ?? '';
    mkdirSync(node.path(dirname(log)), { recursive: true });
    const argv = conmonCommand(id, annotations[`io.kubernetes.cri-o.${name}`] ?? '', log);
    const sync = `/run/sync-${id}`;
    const env = { _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4' };
    const words = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    const script = 'cd "$1" && sync=$2 && shift 2 && exec env "$@" 3>"$sync" 4</dev/null';
    await node.exec(['sh', '-c', script, 'sh', directory, sync, ...words, ...argv]);
    await eventually(`${id} is created`, async () => node.read(sync).includes('\n'));
    assert.match(node.read(sync), /^\{"pid": \d+\}/);
    rmSync(node.path(sync));
    await node.exec(['runc', '--root', '/run/runc', 'start', id]);
    this.#writeState(id);
  }

  #writeState(id: string): void {
    const file = `${STORE}/overlay-containers/${id}/userdata/state.json`;
    const recorded = JSON.parse(this.#recorded(file)) as Record<string, unknown>;
    const [init, monitor] = [this.pidOf(id), this.#node.read(`${RUN}/overlay-containers/${id}/userdata/conmon-pidfile`)];
    const startTime = (pid: string) => {
      const text = readFileSync(this.#node.path(`/proc/${pid}/stat`), 'utf8');
      return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
    };
    const dead = recorded['status'] === 'stopped';
    const processes = dead
      ? {}
      : {
          pid: Number(init),
          initPid: Number(init),
          initStartTime: startTime(init),
          containerMonitorProcess: { pid: Number(monitor), startTime: startTime(monitor) },
        };
    this.#node.write(file, `${JSON.stringify({ ...recorded, ...processes })}\n`);
  }

  pidOf(id: string): string {
    return this.#node.read(`${RUN}/overlay-containers/${id}/userdata/pidfile`);
  }

  /** What CRI-O does when a container has ended. */
  async ended(id: string): Promise<void> {
    const node = this.#node;
    await eventually('the exit is recorded', async () => existsSync(node.path(`/run/crio/exits/${id}`)));
    rmSync(node.path(`/run/crio/exits/${id}`));
    const layers = JSON.parse(node.read(`${STORE}/overlay-containers/volatile-containers.json`)) as StoreRecord[];
    await node.exec(['umount', `${STORE}/overlay/${layers.find((one) => one.id === id)?.layer}/merged`]);
  }
}

/** CRI-O's conmon command line (docs/reference/cri-o-ondisk.md §6.1). */
export function conmonCommand(id: string, name: string, log: string): string[] {
  const [kept, run] = [STORE, RUN].map((root) => `${root}/overlay-containers/${id}/userdata`) as [string, string];
  const where = `-b ${run} -c ${id} --exit-dir /var/run/crio/exits -l ${log} --log-level info -n ${name}`;
  const files = `-P ${run}/conmon-pidfile -p ${run}/pidfile --persist-dir ${kept} -r /usr/sbin/runc --runtime-arg --root=/run/runc`;
  return `/usr/bin/conmon ${where} ${files} --socket-dir-path /var/run/crio --syslog -u ${id}`.split(' ');
}
