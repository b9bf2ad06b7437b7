import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { SpdySession, type SpdyStream, requestUpgrade } from '../../src/streams/index.ts';
import { NamespaceMode } from '../../src/wire/index.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, startPod } from '../harness/pods.ts';
import { connectTo, textOf } from '../harness/streaming.ts';

/** Port 7 answers each connection with what it has read when the client's side has ended, port 8 with zeros without end. */
const SERVER = ['sh', '-c', 'nc -ll -p 7 -e sh -c "cat; echo end" & nc -ll -p 8 -e cat /dev/zero & wait'];
const node = useNode({ images: ['busybox'] });

/** A pod with these servers, for as long as `work` runs. */
async function withPod(work: (pod: { podSandboxId: string; containerId: string }) => Promise<void>): Promise<void> {
  const pod = await startPod(node.client, podConfig(node.machine, 'ports'), containerConfig('c', BUSYBOX, SERVER), '');
  const script = 'for port in 7 8; do until netstat -ltn | grep -q ":$port "; do sleep 0.05; done; done';
  await node.client.ExecSync({ containerId: pod.containerId, cmd: ['sh', '-c', script], timeout: 20n });
  try {
    await work(pod);
  } finally {
    await node.client.StopContainer({ containerId: pod.containerId, timeout: 0n });
    await node.client.RemovePodSandbox({ podSandboxId: pod.podSandboxId });
  }
}

class Forwarding {
  readonly session: SpdySession;
  readonly socket: Socket;
  #requests = 0;

  private constructor(session: SpdySession, socket: Socket) {
    this.session = session;
    this.socket = socket;
  }

  static async open(podSandboxId: string): Promise<Forwarding> {
    const { url } = await node.client.PortForward({ podSandboxId });
    const socket = await connectTo(node, url);
    const { pathname: path, host } = new URL(url);
    const headers: [string, string][] = [
      ['Upgrade', 'SPDY/3.1'],
      ['X-Stream-Protocol-Version', 'portforward.k8s.io'],
    ];
    const { head } = await requestUpgrade(socket, { method: 'POST', path, host, headers });
    return new Forwarding(new SpdySession(socket, { role: 'client', head }), socket);
  }

  async connect(port: number): Promise<{ data: SpdyStream; error: SpdyStream }> {
    const common = [
      ['port', String(port)],
      ['requestid', String(this.#requests++)],
    ] as const;
    const error = await this.session.open(new Map([['streamtype', 'error'], ...common]));
    error.end();
    return { error, data: await this.session.open(new Map([['streamtype', 'data'], ...common])) };
  }
}

test('[E67 E68 H81] bytes go both ways, and each side ends on its own', async () => {
  await withPod(async (pod) => {
    const forwarding = await Forwarding.open(pod.podSandboxId);
    const { data, error } = await forwarding.connect(7);
    data.write('hello ');
    data.end('there\n');
    assert.equal(await textOf(data), 'hello there\nend\n');
    assert.equal(await textOf(error), '');
    forwarding.session.close();
  });
});

test('[E67] an address of IPv6 is tried after that of IPv4', async () => {
  await withPod(async (pod) => {
    const { stdout: pins } = await node.exec(['ls', '/var/run/netns']);
    const program = "require('node:net').createServer((s) => s.end('six\\n')).listen(9, '::1', () => console.log('listening'))";
    const netns = `--net=/var/run/netns/${pins.toString('utf8').trim()}`;
    const server = node.machine.spawn(['nsenter', netns, process.execPath, '-e', program], ['ignore', 'pipe', 'inherit']);
    await once(server.stdout ?? server, 'data');
    const forwarding = await Forwarding.open(pod.podSandboxId);
    const { data } = await forwarding.connect(9);
    assert.equal(await textOf(data), 'six\n');
    forwarding.session.close();
    const ended = once(server, 'exit');
    process.kill(node.machine.pidOf(server) ?? 0, 'SIGKILL');
    await ended;
  });
});

test('[E67 E72] a port on which nobody listens is told as kubectl expects it', async () => {
  await withPod(async (pod) => {
    const forwarding = await Forwarding.open(pod.podSandboxId);
    const { data, error } = await forwarding.connect(81);
    const reset = once(data, 'error');
    const id = pod.podSandboxId;
    const text = new RegExp(
      `^error forwarding port 81 to pod ${id}, uid : port forward into network namespace "/var/run/netns/[^"]+": failed to connect to localhost:81 inside namespace ${id}: .*ECONNREFUSED`,
    );
    assert.match(await textOf(error), text);
    await reset;
    forwarding.session.close();
  });
});

test('[E66] unknown and stopped pods are told on the stream', async () => {
  const unknown = await Forwarding.open('f'.repeat(64));
  assert.match(await textOf((await unknown.connect(7)).error), /PodSandbox with ID starting with f{64} not found: ID does not exist/);
  unknown.session.close();
  const { podSandboxId } = await node.client.RunPodSandbox({ config: podConfig(node.machine, 'stopped') });
  await node.client.StopPodSandbox({ podSandboxId });
  const stopped = await Forwarding.open(podSandboxId);
  assert.match(await textOf((await stopped.connect(7)).error), new RegExp(`sandbox ${podSandboxId} is not running`));
  stopped.session.close();
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[E69] a pod on the host network is reached too', async () => {
  const namespaceOptions = { network: NamespaceMode.NODE, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER };
  const config = podConfig(node.machine, 'host', {
    linux: { cgroupParent: `${node.machine.cgroup}/pod${randomUUID()}`, securityContext: { namespaceOptions } },
  });
  const linux = { resources: {}, securityContext: { namespaceOptions } };
  const other = await startPod(
    node.client,
    config,
    containerConfig('c', BUSYBOX, ['nc', '-l', '-p', '7777', '-e', 'echo', 'host'], { linux }),
    '',
  );
  const script = 'until netstat -ltn | grep -q ":7777 "; do sleep 0.05; done';
  await node.client.ExecSync({ containerId: other.containerId, cmd: ['sh', '-c', script], timeout: 20n });
  const forwarding = await Forwarding.open(other.podSandboxId);
  assert.equal(await textOf((await forwarding.connect(7777)).data), 'host\n');
  forwarding.session.close();
  await node.client.RemovePodSandbox({ podSandboxId: other.podSandboxId });
});

test('[a66] a hundred connections, then a client that is cut off, leave no descriptor and no thread in the pod', async () => {
  await withPod(async (pod) => {
    const fds = () => readdirSync(`/proc/${node.daemonPid}/fd`).length;
    const warm = await Forwarding.open(pod.podSandboxId);
    await textOf((await warm.connect(81)).error);
    warm.session.close();
    await warm.session.closed;
    const before = fds();
    const forwarding = await Forwarding.open(pod.podSandboxId);
    for (let n = 0; n < 100; n++) await textOf((await forwarding.connect(81)).error);
    const { data } = await forwarding.connect(8);
    await once(data, 'data');
    forwarding.socket.destroy();
    for (let tries = 0; fds() > before; tries++) {
      assert.ok(tries < 50, `${fds()} descriptors, ${before} before`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const namespaces = new Set(
      readdirSync(`/proc/${node.daemonPid}/task`).map((thread) => readlinkSync(`/proc/${node.daemonPid}/task/${thread}/ns/net`)),
    );
    assert.equal(namespaces.size, 1);
  });
});

test('a reader that stops stops the sender, and the daemon keeps little of what is between', async () => {
  await withPod(async (pod) => {
    const forwarding = await Forwarding.open(pod.podSandboxId);
    const { data } = await forwarding.connect(8);
    await once(data, 'data');
    forwarding.socket.pause();
    const before = anonymousKb(node.daemonPid);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert.ok(anonymousKb(node.daemonPid) - before < 8 * 1024);
    forwarding.socket.resume();
    let [length, most] = [0, 0];
    for await (const chunk of data) {
      if (length % (64 * 1024 * 1024) < (chunk as Buffer).length) most = Math.max(most, anonymousKb(node.daemonPid) - before);
      if ((length += (chunk as Buffer).length) > 1_000_000_000) break;
    }
    assert.ok(most < 96 * 1024, `${most} KiB more than before`); // V8 looks at buffers outside its heap when there are 64 MiB of them.
    forwarding.socket.destroy();
  });
});

/** Memory of a process that is its own. */
function anonymousKb(pid: number): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}
