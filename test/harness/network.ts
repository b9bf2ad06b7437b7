import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { newHexId, type SandboxId } from '../../src/ids/index.ts';
import { NamespaceMaker, unmountIfMounted } from '../../src/linux/index.ts';
import { createLogger } from '../../src/log/index.ts';
import { type NetworkSettings, NetworkService, type PodNetwork, type PortMapping } from '../../src/network/index.ts';

export const PLUGINS = '/usr/lib/cni';
/** The host as the outside world sees it, and an address out there. */
export const HOST_IP = '198.51.100.1';
export const HOST_IP6 = '2001:db8:1::1';
export const OUTSIDE_IP = '198.51.100.2';
export const OUTSIDE_IP6 = '2001:db8:1::2';

/** Directories of one node. */
export interface LabNode extends NetworkSettings {
  readonly root: string;
  readonly cacheDir: string;
}

export type LabPod = PodNetwork & { readonly netnsPath: string };

/** Nodes, pods and an outside world for tests of the network; call it in a private network namespace only (netns.ts). */
export class NetworkLab {
  readonly dir = mkdtempSync(join(tmpdir(), 'crio-network-'));
  /** A network namespace out there, one link away. */
  readonly outside = join(this.dir, 'outside');
  /** What was logged since the test began. */
  readonly lines: string[] = [];
  readonly log = createLogger({ level: 'debug', filter: undefined, write: (line) => void this.lines.push(line) });
  readonly #maker = new NamespaceMaker();
  readonly #services = new Set<NetworkService>();
  readonly #servers = new Set<ChildProcess>();
  /** What a test that failed before left on the host: the next one is not to be blamed for it. */
  #inherited: ReadonlySet<string> = new Set();
  #counter = 0;

  async open(): Promise<void> {
    await this.#makeNamespace(this.outside);
    const holder = spawn('nsenter', [`--net=${this.outside}`, '-F', '--', 'sleep', 'infinity'], { stdio: 'ignore' });
    await once(holder, 'spawn');
    const namespaceOf = (pid: number) => sh('readlink', `/proc/${pid}/ns/net`);
    await until('the holder is outside', () => namespaceOf(holder.pid ?? 0) !== namespaceOf(process.pid));
    sh('ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
    sh('ip', 'link', 'set', 'up1', 'netns', String(holder.pid));
    sh('ip', 'addr', 'add', `${HOST_IP}/24`, 'dev', 'up0');
    sh('ip', '-6', 'addr', 'add', `${HOST_IP6}/64`, 'dev', 'up0', 'nodad');
    sh('ip', 'link', 'set', 'up0', 'up');
    inside(this.outside, 'ip', 'addr', 'add', `${OUTSIDE_IP}/24`, 'dev', 'up1');
    inside(this.outside, 'ip', '-6', 'addr', 'add', `${OUTSIDE_IP6}/64`, 'dev', 'up1', 'nodad');
    inside(this.outside, 'ip', 'link', 'set', 'up1', 'up');
    inside(this.outside, 'ip', 'route', 'add', '10.85.0.0/16', 'via', HOST_IP);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  }

  begin(): void {
    this.#inherited = new Set(hostTraces());
  }

  async end(): Promise<void> {
    for (const child of this.#servers) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    for (const service of this.#services) await service.stop();
    this.#services.clear();
    this.lines.length = 0;
  }

  async close(): Promise<void> {
    await this.#maker.close();
    for (const file of readdirSync(this.dir)) unmountIfMounted(join(this.dir, file));
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A node with this network configuration: the bridge network, unless told otherwise; null is none. */
  node(settings: Partial<NetworkSettings> = {}, conflist: unknown = bridge()): LabNode {
    const root = join(this.dir, `node${this.#counter++}`);
    const [networkDir, cacheDir] = [join(root, 'net.d/'), join(root, 'cni')];
    mkdirSync(networkDir, { recursive: true });
    if (conflist !== null) configure({ networkDir }, conflist);
    const environment = { PATH: process.env['PATH'], DATA: root };
    const defaults = { pluginDirs: [PLUGINS], defaultNetwork: '', statusGraceMs: 0, disableHostPortMapping: false };
    return { root, networkDir, environment, ...defaults, ...settings, cacheDir };
  }

  /** A node whose one network, `fake`, consists of stand-ins. */
  fakeNode(list: Record<string, unknown> = {}): LabNode {
    const of = this.node({}, { cniVersion: '1.0.0', name: 'fake', plugins: [{ type: 'stand-in' }], ...list });
    return { ...of, pluginDirs: [join(of.root, 'bin')] };
  }

  async service(of: NetworkSettings): Promise<NetworkService> {
    const made = new NetworkService({ settings: of, log: this.log });
    this.#services.add(made);
    await made.start();
    return made;
  }

  async ready(of: NetworkSettings): Promise<NetworkService> {
    const made = await this.service(of);
    await made.whenReady(AbortSignal.timeout(15_000));
    return made;
  }

  async pod(name: string, more: Partial<PodNetwork> = {}): Promise<LabPod> {
    const netnsPath = join(this.dir, `netns-${this.#counter++}`);
    await this.#makeNamespace(netnsPath);
    const identity = { id: newHexId() as SandboxId, name, namespace: 'default', uid: 'u-1', sandboxName: `k8s_${name}_default_u-1_0` };
    const annotations = new Map([['note', 'as it is']]);
    return { ...identity, cgroupParent: '/kubepods/podu-1', annotations, portMappings: [], ...more, netnsPath };
  }

  /** What a pod left behind, one line each. */
  traces(of: LabNode): string[] {
    const list = (path: string) => (existsSync(path) ? readdirSync(path, { recursive: true, encoding: 'utf8' }) : []);
    return [
      ...hostTraces().filter((trace) => !this.#inherited.has(trace)),
      ...list(join(of.cacheDir, 'results')).map((file) => `result ${file}`),
      ...list(join(of.root, 'networks')).filter((file) => /\/\d/.test(file)),
    ];
  }

  /** A server in a namespace that answers each connection or datagram with the peer's address. */
  async serve(netns: string, listen: number, kind: 'tcp' | 'udp' = 'tcp'): Promise<void> {
    const tcp = `require('net').createServer(s=>s.end(s.remoteAddress)).listen(${listen},'::',()=>console.log('up'))`;
    const udp = `const u=require('dgram').createSocket('udp4');u.on('message',(m,r)=>u.send(r.address,r.port,r.address)).bind(${listen},()=>console.log('up'))`;
    const child = spawn('nsenter', [`--net=${netns}`, '-F', '--', process.execPath, '-e', kind === 'tcp' ? tcp : udp], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#servers.add(child);
    child.once('exit', () => this.#servers.delete(child));
    await once(child.stdout, 'data');
  }

  async #makeNamespace(pin: string): Promise<void> {
    const [ipc, uts] = [`${pin}.ipc`, `${pin}.uts`];
    await this.#maker.create({ pins: { net: pin, ipc, uts }, host: [], sysctls: [] });
    for (const other of [ipc, uts]) {
      unmountIfMounted(other);
      rmSync(other);
    }
  }
}

export function sh(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export function inside(netns: string, ...argv: string[]): string {
  return sh('nsenter', `--net=${netns}`, '-F', '--', ...argv);
}

/** Looks again every 10 ms; for states of the kernel or of another process that nobody tells of. */
export async function until(what: string, holds: () => boolean, ms = 15_000): Promise<void> {
  for (const end = performance.now() + ms; !holds();) {
    assert.ok(performance.now() < end, `not so within ${ms} ms: ${what}`);
    await delay(10);
  }
}

export function configure({ networkDir }: Pick<NetworkSettings, 'networkDir'>, conflist: unknown, name = '10-net.conflist'): void {
  const rooted = JSON.stringify(conflist).replaceAll('$ROOT', join(networkDir, '..'));
  writeFileSync(join(networkDir, name), rooted);
}

export function bridge(
  more: readonly unknown[] = [{ type: 'portmap', capabilities: { portMappings: true } }],
  ranges = [['10.85.0.0/16']],
): unknown {
  const ipam = { type: 'host-local', dataDir: '$ROOT/networks', ranges: ranges.map((range) => range.map((subnet) => ({ subnet }))) };
  const routes = ranges.flat().map((subnet) => ({ dst: subnet.includes(':') ? '::/0' : '0.0.0.0/0' }));
  return {
    cniVersion: '1.0.0',
    name: 'crio-bridge',
    plugins: [{ type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: true, hairpinMode: true, ipam: { ...ipam, routes } }, ...more],
  };
}

export function port(hostPort: number, containerPort = 80, more: Partial<PortMapping> = {}): PortMapping {
  return { hostPort, containerPort, protocol: 'TCP', hostIp: '', ...more };
}

/** The namespace as the pod's end leaves it. */
export function drop(...pods: readonly { readonly netnsPath: string }[]): void {
  for (const { netnsPath } of pods) {
    unmountIfMounted(netnsPath);
    rmSync(netnsPath, { force: true });
  }
}

function hostTraces(): string[] {
  const links = (JSON.parse(sh('ip', '-j', 'link')) as { ifname: string }[]).map((link) => link.ifname);
  const rules = sh('nft', 'list', 'ruleset').matchAll(/comment "[A-Z2-7]{16}"|10\.85\.\d+\.\d+(?!\/)|jump CNI-\w+|KUBE-HP-\w+/g);
  return [...links.filter((link) => link.startsWith('veth')), ...[...rules].map(String)];
}

/** What `serve` answers; a busy machine may take its time. */
export function ask(netns: string | undefined, host: string, at: number, kind: 'tcp' | 'udp' = 'tcp'): string {
  return answerFrom(netns, host, at, kind, 15_000) ?? 'nothing';
}

/** Whether nobody answers. */
export function silent(netns: string | undefined, host: string, at: number, kind: 'tcp' | 'udp' = 'tcp'): boolean {
  return answerFrom(netns, host, at, kind, 1000) === undefined;
}

function answerFrom(netns: string | undefined, host: string, at: number, kind: 'tcp' | 'udp', ms: number): string | undefined {
  const tcp = `const s=require('net').connect({host:'${host}',port:${at}});s.setTimeout(${ms},()=>s.destroy());s.pipe(process.stdout);s.on('error',()=>{})`;
  // Whoever waits for an answer sends again: a datagram may be lost.
  const udp = `const u=require('dgram').createSocket('udp${host.includes(':') ? 6 : 4}');const send=()=>u.send('x',${at},'${host}');u.on('message',m=>{process.stdout.write(m);process.exit()});send();setInterval(send,300);setTimeout(()=>process.exit(),${ms})`;
  const argv = [process.execPath, '-e', kind === 'tcp' ? tcp : udp];
  const answer = netns === undefined ? sh(argv[0] ?? '', ...argv.slice(1)) : inside(netns, ...argv);
  return answer === '' ? undefined : answer.replace('::ffff:', '');
}

/** A plugin that does as told: a shell file per command in `dir`, its calls in `calls`. */
export function standIn(
  of: LabNode,
  type = 'stand-in',
): { readonly calls: () => string[]; readonly does: (command: string, text: string) => void } {
  const bin = of.pluginDirs[0] ?? '';
  mkdirSync(bin, { recursive: true });
  writeFileSync(
    join(bin, type),
    `#!/bin/sh
input=$(cat)
[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}' && exit
printf '%s %s %s\\n' "$CNI_COMMAND" "$CNI_NETNS" "$input" >> "$DATA/${type}.calls"
[ -e "$DATA/${type}.$CNI_COMMAND" ] && . "$DATA/${type}.$CNI_COMMAND"
[ "$CNI_COMMAND" = ADD ] && echo '{"ips":[{"address":"10.99.0.5/24"}]}'
exit 0
`,
    { mode: 0o755 },
  );
  const calls = join(of.root, `${type}.calls`);
  return {
    calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []),
    does: (command, text) => writeFileSync(join(of.root, `${type}.${command}`), text),
  };
}
