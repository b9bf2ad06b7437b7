import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { newerKubectl } from './newer-debian.ts';
import type { TestNode } from './node.ts';
import { connectTo } from './streaming.ts';
import { toolPath } from './tools.ts';

/** A pod as far as kubectl wants to know one. */
export interface KubePod {
  readonly podSandboxId: string;
  readonly containerId: string;
  readonly name: string;
  readonly container: { readonly name: string; readonly stdin?: boolean; readonly tty?: boolean };
}

export interface KubectlResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * What stands between kubectl and a node: an API server and a kubelet, as far as exec, attach, cp and port-forward need them. It answers
 * what a pod is, asks the node for a streaming URL, and from then on passes bytes on, both ways, unseen: kubectl speaks with our server.
 */
export class KubeApi {
  readonly #node: TestNode;
  readonly #pods: ReadonlyMap<string, KubePod>;
  readonly #server: Server;
  readonly #kubectl: readonly [string, ...string[]];
  readonly #home = mkdtempSync(join(tmpdir(), 'crio-kubectl-'));

  private constructor(node: TestNode, pods: readonly KubePod[], kubectl: readonly [string, ...string[]]) {
    this.#node = node;
    this.#pods = new Map(pods.map((pod) => [pod.name, pod]));
    this.#kubectl = kubectl;
    this.#server = createServer((message, response) => this.#answer(message, response));
    this.#server.on('upgrade', (message: IncomingMessage, socket: Duplex, head: Buffer) => void this.#upgrade(message, socket, head));
  }

  static async start(node: TestNode, pods: readonly KubePod[]): Promise<KubeApi> {
    const api = new KubeApi(node, pods, await newerKubectl());
    api.#server.listen(0, '127.0.0.1');
    await once(api.#server, 'listening');
    return api;
  }

  /** kubectl with these arguments, under way. */
  spawn(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const [program, ...words] = this.#kubectl;
    const server = `--server=http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return spawn(program, [...words, server, ...args], {
      env: { PATH: toolPath, HOME: this.#home, ...env },
      stdio: 'pipe',
      cwd: this.#home,
    });
  }

  async run(
    args: readonly string[],
    options: { readonly stdin?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<KubectlResult> {
    const child = this.spawn(args, options.env);
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.stdin ?? '');
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stdout: Buffer.concat(stdout).toString('utf8'), stderr: Buffer.concat(stderr).toString('utf8') };
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(this.#home, { recursive: true, force: true });
  }

  #answer(message: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(message.url ?? '/', 'http://x');
    const pod = this.#pods.get(/^\/api\/v1\/namespaces\/default\/pods\/([^/]+)$/.exec(pathname)?.[1] ?? '');
    const found = pod === undefined ? DISCOVERY[pathname] : podObject(pod);
    response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ?? { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 }));
  }

  async #upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const url = new URL(message.url ?? '/', 'http://x');
    const [, name = '', verb = ''] = /^\/api\/v1\/namespaces\/default\/pods\/([^/]+)\/(exec|attach|portforward)$/.exec(url.pathname) ?? [];
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new Error(`no such pod: ${message.url}`);
    const target = await this.#streamingUrl(pod, verb, url.searchParams);
    const upstream = await connectTo(this.#node, target);
    const headers: string[] = [];
    for (let at = 0; at < message.rawHeaders.length; at += 2) headers.push(`${message.rawHeaders[at]}: ${message.rawHeaders[at + 1]}\r\n`);
    upstream.write(`${message.method} ${new URL(target).pathname} HTTP/1.1\r\n${headers.join('')}\r\n`);
    upstream.write(head);
    for (const side of [upstream, socket]) side.on('error', () => {});
    upstream.pipe(socket).on('close', () => upstream.destroy());
    socket.pipe(upstream).on('close', () => socket.destroy());
  }

  async #streamingUrl({ containerId, podSandboxId }: KubePod, verb: string, query: URLSearchParams): Promise<string> {
    const { client } = this.#node;
    const is = (key: string) => ['true', '1'].includes(query.get(key) ?? '');
    const streams = { containerId, stdin: is('stdin'), stdout: is('stdout'), stderr: is('stderr'), tty: is('tty') };
    if (verb === 'exec') return (await client.Exec({ ...streams, cmd: query.getAll('command') })).url;
    if (verb === 'attach') return (await client.Attach(streams)).url;
    return (await client.PortForward({ podSandboxId, port: query.getAll('ports').map(Number) })).url;
  }
}

const DISCOVERY: Readonly<Record<string, object>> = {
  '/version': { major: '1', minor: '37', gitVersion: 'v1.37.0' },
  '/api': { kind: 'APIVersions', versions: ['v1'] },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
  '/api/v1': {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: 'v1',
    resources: [{ name: 'pods', singularName: 'pod', namespaced: true, kind: 'Pod', verbs: ['get', 'list', 'create'], shortNames: ['po'] }],
  },
};

function podObject({ name, container }: KubePod): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: name },
    spec: { containers: [{ ...container, image: 'image' }] },
    status: { phase: 'Running', containerStatuses: [{ name: container.name, ready: true, state: { running: {} } }] },
  };
}
