import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { KubeApi } from '../harness/kube-api.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { containerConfig, podConfig, startPod } from '../harness/pods.ts';

const COMMAND = ['sh', '-c', 'while :; do nc -l -p 7 -e sh -c "head -n 1; echo end"; done & while read line; do echo "heard $line"; done'];
const node = useNode({ images: ['busybox'] });

/** kubectl before a pod `web` that listens on port 7 and says what it has heard. */
async function withPod(work: (api: KubeApi) => Promise<void>): Promise<void> {
  const { client, machine } = node;
  const pod = await startPod(client, podConfig(machine, 'web'), containerConfig('c', BUSYBOX, COMMAND, { stdin: true }), '');
  const script = 'until netstat -ltn | grep -q ":7 "; do sleep 0.05; done';
  await client.ExecSync({ containerId: pod.containerId, cmd: ['sh', '-c', script], timeout: 20n });
  const api = await KubeApi.start(node, [{ ...pod, name: 'web', container: { name: 'c', stdin: true } }]);
  try {
    await work(api);
  } finally {
    api.stop();
    await client.StopContainer({ containerId: pod.containerId, timeout: 0n });
    await client.RemovePodSandbox({ podSandboxId: pod.podSandboxId });
  }
}

const dir = mkdtempSync(join(tmpdir(), 'crio-kubectl-test-'));
after(() => rmSync(dir, { recursive: true }));

for (const [name, webSockets] of [
  ['WebSocket', 'true'],
  ['SPDY', 'false'],
] as const) {
  const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: webSockets, KUBECTL_PORT_FORWARD_WEBSOCKETS: webSockets };

  test(`[E40 E42 E45] kubectl exec over ${name}: streams, the end of the input, the exit code`, async () => {
    await withPod(async (api) => {
      const script = 'cat; echo err >&2; exit 5';
      const { code, stdout, stderr } = await api.run(['exec', '-i', 'web', '--', 'sh', '-c', script], { env, stdin: 'hello\n' });
      assert.deepEqual([code, stdout], [5, 'hello\n']);
      assert.match(stderr, /^err\n/);
      assert.match(stderr, /command terminated with exit code 5/);
    });
  });

  test(`kubectl cp over ${name}, there and back`, async () => {
    await withPod(async (api) => {
      const bytes = Buffer.alloc(3_000_000, 'some bytes \0\xff\n', 'latin1');
      writeFileSync(join(dir, 'in'), bytes);
      const there = await api.run(['cp', join(dir, 'in'), 'web:/tmp/there'], { env });
      assert.equal(there.code, 0, there.stderr);
      const back = await api.run(['cp', 'web:/tmp/there', join(dir, `out-${name}`)], { env });
      assert.equal(back.code, 0, back.stderr);
      assert.ok(readFileSync(join(dir, `out-${name}`)).equals(bytes));
    });
  });

  test(`[E60] kubectl attach over ${name}: what is typed arrives, what is printed comes`, async () => {
    await withPod(async (api) => {
      const child = api.spawn(['attach', '-i', 'web'], env);
      const seen: Buffer[] = [];
      child.stdout?.on('data', (chunk: Buffer) => seen.push(chunk));
      child.stdin?.write('hello\n');
      while (!Buffer.concat(seen).toString('utf8').includes('heard hello\n')) {
        await once(child.stdout ?? child, 'data');
        child.stdin?.write('hello\n');
      }
      child.kill('SIGKILL');
      await once(child, 'close');
    });
  });

  test(`[E70] kubectl port-forward over ${name}: a connection, and one to a port where nobody listens`, async () => {
    await withPod(async (api) => {
      const child = api.spawn(['port-forward', 'web', ':7', ':81'], env);
      let said = '';
      let complaint = '';
      child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString('utf8')));
      while ((said.match(/127\.0\.0\.1:/g) ?? []).length < 2) {
        const [chunk] = (await once(child.stdout ?? child, 'data')) as [Buffer];
        said += chunk.toString('utf8');
      }
      const [open = '', closed = ''] = [...said.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => port);
      child.stdout?.resume();
      const good = connect(Number(open), '127.0.0.1');
      good.write('over\n');
      const parts: Buffer[] = [];
      for await (const part of good) parts.push(part as Buffer);
      assert.equal(Buffer.concat(parts).toString('utf8'), 'over\nend\n');
      const bad = connect(Number(closed), '127.0.0.1');
      bad.on('error', () => {});
      bad.resume();
      await once(bad, 'close');
      while (!complaint.includes('ECONNREFUSED')) await once(child.stderr ?? child, 'data');
      assert.match(complaint, /error forwarding port 81 to pod [0-9a-f]{64}, uid : port forward into network namespace/);
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
    });
  });
}
