import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, get } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { after, afterEach, before } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunResult } from '../../src/process/index.ts';
import { type CriClient, connectCri } from './client.ts';
import { type Subject, leaksSince, traces } from './leaks.ts';
import type { ImageName } from './images.ts';
import { Machine } from './machine.ts';
import { type NewerDebian, newerDebianOn } from './newer-debian.ts';
import { type RunningRegistry, startRegistry } from './registry.ts';
import { crioProgram } from './tools.ts';

export interface NodeOptions {
  /** More of crio.conf, as a drop-in that is read after the harness' own. */
  readonly config?: string;
  /** No CNI configuration: the network is not ready. */
  readonly withoutNetwork?: boolean;
  /** Images that the node's registry serves beside `pause`, and that `useNode` pulls before the first test. */
  readonly images?: readonly ImageName[];
  /** Files to write before the daemon starts, by their path inside. */
  readonly files?: Readonly<Record<string, string>>;
  /** More of the daemon's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Programs to write before the daemon starts, by their path inside. */
  readonly programs?: Readonly<Record<string, string>>;
  /** The node is the newer Debian (newer-debian.ts), beside podman and skopeo; `useNode` cannot look for leaks there. */
  readonly newerDebian?: boolean;
}

/** A machine with our daemon on it, as a node of a cluster has it. */
export class TestNode {
  readonly machine = new Machine();
  readonly socket = '/run/crio/crio.sock';
  readonly #options: NodeOptions;
  #daemon: ChildProcess | undefined;
  #client: CriClient | undefined;
  #registry: RunningRegistry | undefined;
  #before: Set<string> = new Set();
  readonly #ids = new Set<string>();
  #newerDebian: NewerDebian | undefined;

  constructor(options: NodeOptions = {}) {
    this.#options = options;
  }

  /** Boots the machine and writes the node's configuration; starts no daemon yet. */
  async boot(): Promise<void> {
    await this.machine.start();
    if (this.#options.newerDebian === true) this.#newerDebian = await newerDebianOn(this.machine);
    const configuration = { ...NODE_FILES, ...(this.#options.withoutNetwork === true ? {} : NETWORK_FILES) };
    if (this.#options.config !== undefined) configuration['/etc/crio/crio.conf.d/50-test.conf'] = this.#options.config;
    for (const [file, text] of Object.entries({ ...configuration, ...this.#options.files })) this.write(file, text);
    for (const [file, text] of Object.entries(this.#options.programs ?? {})) {
      this.write(file, text);
      chmodSync(this.path(file), 0o755);
    }
  }

  /** Starts the daemon and waits until it answers on its socket. */
  async start(...args: string[]): Promise<void> {
    const log = openSync(this.#logFile, 'a');
    const daemon = this.machine.spawn(this.#inside([crioProgram, ...args]), ['ignore', log, log], this.#options.env);
    closeSync(log);
    this.#daemon = daemon;
    const ended = once(daemon, 'exit');
    const socket = this.path(this.socket);
    // A daemon says by accepting a connection, and by nothing else that others would see, that it is ready.
    while (!(await answers(socket))) {
      const over = await Promise.race([ended.then(() => true), delay(10, false)]);
      if (over) throw new Error(`the daemon ended with ${daemon.exitCode ?? daemon.signalCode ?? '?'}:\n${this.log()}`);
    }
    this.#client = this.#noting(connectCri(socket));
  }

  /** The client, which also remembers the ids of what it makes: their cgroups must go, wherever they are. */
  #noting(client: CriClient): CriClient {
    return {
      ...client,
      RunPodSandbox: async (...call) => {
        const answer = await client.RunPodSandbox(...call);
        this.#ids.add(answer.podSandboxId);
        return answer;
      },
      CreateContainer: async (...call) => {
        const answer = await client.CreateContainer(...call);
        this.#ids.add(answer.containerId);
        return answer;
      },
    };
  }

  /** Starts the registry of the test images on the node's loopback address. */
  async registry(): Promise<void> {
    this.#registry = await startRegistry({
      images: ['pause', ...(this.#options.images ?? [])],
      address: REGISTRY,
      spawn: (argv, stdio, env) => this.machine.spawn(argv, stdio, env),
    });
  }

  /** Runs the daemon as `start` does, for starts that must fail: waits for its end. */
  async startAndEnd(...args: string[]): Promise<RunResult> {
    return await this.exec([crioProgram, ...args], { mayFail: true });
  }

  get client(): CriClient {
    assert.ok(this.#client, 'the daemon is not running');
    return this.#client;
  }

  /** The daemon's PID as the host sees it. */
  get daemonPid(): number {
    const pid = this.#daemon === undefined ? undefined : this.machine.pidOf(this.#daemon);
    assert.ok(pid, 'the daemon is not running');
    return pid;
  }

  /** An orderly stop; answers the exit code. */
  async stop(): Promise<number | null> {
    return await this.#end('SIGTERM');
  }

  /** After a SIGSTOP: nsenter, which waits for the daemon outside, has stopped with it. */
  resume(): void {
    process.kill(this.daemonPid, 'SIGCONT');
    if (this.#daemon?.pid !== undefined) process.kill(this.#daemon.pid, 'SIGCONT');
  }

  /** What no daemon can prepare for. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const ending = this.ended(`30 s of ${signal}`);
    process.kill(this.daemonPid, signal);
    return await ending;
  }

  /** The result of `work`, which fails at once when the daemon ends before it does: a call would wait for the next daemon. */
  async whileAlive<T>(work: Promise<T>): Promise<T> {
    const daemon = this.#daemon;
    assert.ok(daemon, 'the daemon is not running');
    work.catch(() => {}); // Of no interest when the daemon was quicker.
    const over = new AbortController();
    const gone = daemon.exitCode !== null || daemon.signalCode !== null ? undefined : once(daemon, 'exit', { signal: over.signal });
    try {
      return await Promise.race([work, Promise.resolve(gone).then(() => assert.fail('the daemon has ended'))]);
    } finally {
      over.abort();
    }
  }

  /** Waits for the daemon's end, which somebody or something else brings about; answers the exit code. */
  async ended(within: string): Promise<number | null> {
    const daemon = this.#daemon;
    assert.ok(daemon, 'the daemon is not running');
    const late = AbortSignal.timeout(30_000);
    const gone = daemon.exitCode !== null || daemon.signalCode !== null ? true : once(daemon, 'exit').then(() => true);
    const over = await Promise.race([gone, once(late, 'abort').then(() => false)]);
    assert.ok(over, `the daemon did not end within ${within}:\n${this.log()}`);
    this.#client?.close();
    this.#client = undefined;
    this.#daemon = undefined;
    return daemon.exitCode;
  }

  /** A power cut; the machine boots again, without daemon and registry. */
  async reboot(): Promise<void> {
    this.#client?.close();
    this.#client = undefined;
    this.#daemon = undefined;
    await this.#registry?.stop();
    this.#registry = undefined;
    await this.machine.reboot();
  }

  /** The JSON that the inspect API answers. */
  async inspect(path: string): Promise<unknown> {
    const [response] = (await once(get({ socketPath: this.path(this.socket), path }), 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 200, path);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Runs one of our client commands on the node; a non-zero exit is an error unless it may fail. */
  async crio(args: readonly string[], options: { mayFail?: boolean; stdin?: string } = {}): Promise<RunResult> {
    return await this.exec([crioProgram, ...args], options);
  }

  /** Runs a command on the node to its end; a non-zero exit is an error unless it may fail. */
  async exec(argv: readonly string[], options: { mayFail?: boolean; stdin?: string } = {}): Promise<RunResult> {
    return await this.machine.exec(this.#inside(argv), options);
  }

  /** The host's path of a file on the node. */
  path(inside: string): string {
    return this.#newerDebian === undefined ? this.machine.path(inside) : `${this.#newerDebian.root}${inside}`;
  }

  #inside(argv: readonly string[]): readonly string[] {
    return this.#newerDebian?.enter(argv) ?? argv;
  }

  /** Writes a file; a script is executable. */
  write(inside: string, text: string): void {
    const path = this.path(inside);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
  }

  read(inside: string): string {
    return readFileSync(this.path(inside), 'utf8');
  }

  /** What the daemon wrote to its standard output and error since the node was booted. */
  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
  }

  get #logFile(): string {
    return join(this.machine.dir, 'crio.log');
  }

  #subject(): Subject {
    const pid = this.#daemon === undefined ? undefined : this.machine.pidOf(this.#daemon);
    return { daemon: pid === undefined ? undefined : this.machine.pidInside(pid), ids: this.#ids };
  }

  /** From now on, `leaks` tells what came after. */
  async remember(): Promise<void> {
    this.#before = await traces(this.machine, this.#subject());
  }

  /** What has been left on the node since `remember`, one line each. */
  async leaks(): Promise<string[]> {
    return await leaksSince(this.#before, this.machine, this.#subject());
  }

  /** Removes all pods, as far as they can be removed, but for some. */
  async removePods(except: readonly string[] = []): Promise<void> {
    if (this.#client === undefined) return;
    const { items } = await this.client.ListPodSandbox();
    for (const { id } of items.filter((pod) => !except.includes(pod.id)))
      await this.client.RemovePodSandbox({ podSandboxId: id }).catch(() => {});
  }

  async end(): Promise<void> {
    this.#client?.close();
    await this.machine.end();
    await this.#registry?.stop();
  }
}

/**
 * One node for all tests of a file. After each test nothing may be left of it: pods that it forgot, mounts, namespaces,
 * interfaces, cgroups, processes, records, files. A leak fails the test that made it, and is cleared for the next.
 * What `prepare` makes is there for all tests.
 */
export function useNode(options: NodeOptions = {}, prepare: (node: TestNode) => Promise<unknown> = async () => {}): TestNode {
  const node = new TestNode(options);
  before(async () => {
    await node.boot();
    if (options.images !== undefined) await node.registry();
    await node.start();
    for (const name of options.images ?? []) await node.client.PullImage({ image: { image: imageReference(name) } });
    await prepare(node);
    await node.remember();
  });
  afterEach(async (t) => {
    const leaks = await node.leaks();
    if (leaks.length === 0) return;
    await node.removePods();
    await node.remember();
    // A test that failed half-way leaves what it was working on: its own error is the news.
    if ('passed' in t && !t.passed) return;
    assert.fail(`the test left behind:\n${leaks.map((leak) => `  ${leak}`).join('\n')}`);
  });
  after(async () => await node.end());
  return node;
}

async function answers(socket: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const attempt = connect(socket);
  attempt.once('connect', () => resolve(true));
  attempt.once('error', () => resolve(false));
  const result = await promise;
  attempt.destroy();
  return result;
}

export const REGISTRY = '127.0.0.1:5000';
export const BUSYBOX = imageReference('busybox');

/** What an image of the tests is called on a node. */
export function imageReference(name: ImageName): string {
  return `${REGISTRY}/${name}:latest`;
}

/** What an administrator writes on a Debian node: everything else is CRI-O's default. */
const NODE_FILES: Record<string, string> = {
  '/etc/crio/crio.conf': `
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
default_runtime = "runc"
[crio.runtime.runtimes.runc]
runtime_path = "/usr/sbin/runc"
runtime_root = "/run/runc"
[crio.runtime.runtimes.crun]
runtime_path = "/usr/bin/crun"
runtime_root = "/run/crun"
[crio.network]
plugin_dirs = ["/usr/lib/cni"]
[crio.image]
pause_image = "${REGISTRY}/pause:latest"
`,
  '/etc/containers/policy.json': '{ "default": [{ "type": "insecureAcceptAnything" }] }',
  '/etc/containers/registries.conf': `[[registry]]\nlocation = "${REGISTRY}"\ninsecure = true\n`,
};

/** The network that CRI-O's own documentation proposes. */
export const NETWORK_FILES: Record<string, string> = {
  '/etc/cni/net.d/10-bridge.conflist': JSON.stringify({
    cniVersion: '1.0.0',
    name: 'crio',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: { type: 'host-local', routes: [{ dst: '0.0.0.0/0' }], ranges: [[{ subnet: '10.85.0.0/16' }]] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  }),
};
