import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newRecipient } from '../harness/encrypting.ts';
import { BUSYBOX, REGISTRY, TestNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod } from '../harness/pods.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { unpackedTool } from '../harness/tools.ts';

const SMALL = '127.0.0.1:5001';
const SECRET = `${SMALL}/secret:latest`;
const dir = mkdtempSync(join(tmpdir(), 'crio-encrypted-'));
const recipient = newRecipient(dir, 'node', 'P-256');
const node = new TestNode({
  images: ['busybox'],
  files: {
    '/etc/containers/registries.conf': [REGISTRY, SMALL].map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(''),
    '/root/node.pub': recipient.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  },
});
let small: RunningRegistry;

before(async () => {
  await node.boot();
  await node.registry();
  small = await startRegistry({
    storage: join(dir, 'registry'),
    address: SMALL,
    spawn: (argv, stdio, env) => node.machine.spawn(argv, stdio, env),
  });
  const copy = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', '--encryption-key', 'jwe:/root/node.pub'];
  await node.exec([unpackedTool('usr/bin/skopeo'), '--insecure-policy', ...copy, `docker://${BUSYBOX}`, `docker://${SECRET}`]);
});
after(async () => {
  await node.end();
  await small.stop();
  rmSync(dir, { recursive: true });
});

const refusal = async () =>
  await node.client.PullImage({ image: { image: SECRET } }).then(
    () => assert.fail('it was pulled'),
    (error: unknown) => String(error),
  );

test('[A58, B58, I39] a pod runs from an encrypted image once its key is in decryption_keys_path', async () => {
  await node.start();
  await node.client.PullImage({ image: { image: BUSYBOX } });
  assert.match(await refusal(), /missing private key needed for decryption: .*\(decryption_keys_path is \/etc\/crio\/keys\/\)/);
  const key = recipient.privateKey.export({ type: 'sec1', format: 'pem' }).toString();
  node.write('/etc/crio/keys/node.pem', key);
  await node.client.PullImage({ image: { image: SECRET } });
  const { containerId, podSandboxId } = await runPod(
    node.client,
    podConfig(node.machine, 'secret'),
    containerConfig('secret', SECRET, OBEDIENT),
  );
  const { stdout, exitCode } = await node.client.ExecSync({ containerId, cmd: ['cat', '/etc/passwd'] });
  assert.equal(exitCode, 0);
  assert.match(Buffer.from(stdout).toString('utf8'), /^app:x:1000:1000:/m);
  await node.client.RemovePodSandbox({ podSandboxId });
  await node.stop();

  // Another place, by the flag.
  await node.start('--decryption-keys-path', '/srv/keys');
  assert.match(await refusal(), /\(decryption_keys_path is \/srv\/keys\)/);
  node.write('/srv/keys/node.pem', key);
  await node.client.PullImage({ image: { image: SECRET } });
  await node.stop();
  assert.ok(!node.log().includes(key.split('\n')[1] ?? '?'));
  assert.doesNotMatch(node.log(), /without effect in this version yet: .*decryption_keys_path/);
});
