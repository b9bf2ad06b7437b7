import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type CriClient, connectCri } from '../test/harness/client.ts';
import type { ImageName } from '../test/harness/images.ts';
import { Machine } from '../test/harness/machine.ts';
import { NETWORK_FILES, REGISTRY, TestNode, imageReference } from '../test/harness/node.ts';
import { startRegistry } from '../test/harness/registry.ts';
import { projectRoot, unpackedTool } from '../test/harness/tools.ts';

/** What a daemon does after its answer (exits, events, garbage) belongs to the work that it answered. */
export const SETTLE_MS = 300;

/** Where our daemon keeps the delay of its event loop (loop-delay.mjs). */
export const LOOP_DELAY_FILE = '/run/loop-delay';

/** One of the daemons that are compared, on a machine of its own. */
export interface Peer {
  readonly name: 'ours' | 'containerd';
  readonly machine: Machine;
  readonly client: CriClient;
  /** The daemon's PID as the host sees it. */
  readonly daemonPid: number;
  end(): Promise<void>;
}

/** The registry of each has these images. */
export async function startOurs(images: readonly ImageName[]): Promise<Peer> {
  const env = { LOOP_DELAY_FILE, NODE_OPTIONS: `--import=${join(projectRoot, 'bench/loop-delay.mjs')}` };
  const node = new TestNode({ images, env });
  await node.boot();
  await node.registry();
  await node.start();
  const { machine, client, daemonPid } = node;
  return { name: 'ours', machine, client, daemonPid, end: () => node.end() };
}

/** Debian's containerd with the same runtimes, plugins, network configuration and file system as ours. */
export async function startContainerd(images: readonly ImageName[]): Promise<Peer> {
  const machine = new Machine();
  await machine.start();
  for (const [file, text] of Object.entries({ ...NETWORK_FILES, [CONFIG_FILE]: CONFIG })) {
    mkdirSync(dirname(machine.path(file)), { recursive: true });
    writeFileSync(machine.path(file), text);
  }
  const registry = await startRegistry({
    images: ['catatonit', ...images],
    address: REGISTRY,
    spawn: (argv, stdio, env) => machine.spawn(argv, stdio, env),
  });
  const logFile = join(machine.dir, 'containerd.log');
  const log = openSync(logFile, 'a');
  const daemon = machine.spawn([unpackedTool('usr/bin/containerd'), '--config', CONFIG_FILE], ['ignore', log, log]);
  closeSync(log);
  const socket = machine.path('/run/containerd/containerd.sock');
  await appearance(socket, daemon, () => readFileSync(logFile, 'utf8'));
  const client = connectCri(socket);
  await client.Version();
  const daemonPid = machine.pidOf(daemon) ?? 0;
  const end = async () => {
    client.close();
    await machine.end();
    await registry.stop();
  };
  return { name: 'containerd', machine, client, daemonPid, end };
}

async function appearance(socket: string, daemon: ChildProcess, log: () => string): Promise<void> {
  const ended = once(daemon, 'exit').then(() => true);
  while (!existsSync(socket)) if (await Promise.race([ended, delay(10, false)])) throw new Error(`containerd ended: ${log()}`);
}

const CONFIG_FILE = '/etc/containerd/config.toml';
const CRI = 'plugins."io.containerd.grpc.v1.cri"';
/** restrict_oom_score_adj: CAP_SYS_RESOURCE may be missing, and containerd clamps only when told to. */
const CONFIG = `version = 2
[${CRI}]
sandbox_image = "${imageReference('catatonit')}"
restrict_oom_score_adj = true
[${CRI}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[${CRI}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[${CRI}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[${CRI}.containerd.runtimes.runc.options]
BinaryName = "/usr/sbin/runc"
[${CRI}.containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"
[${CRI}.containerd.runtimes.crun.options]
BinaryName = "/usr/bin/crun"
`;
