import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type TLSSocket, connect, getCiphers } from 'node:tls';
import { Authority, pemOf } from '../../../test/harness/certificates.ts';
import { silentLogger } from '../../log/index.ts';
import { requestUpgrade } from '../../streams/index.ts';
import { opensslName } from './certificates.ts';
import { StreamingServer } from './index.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-stream-tls-'));
after(() => rmSync(dir, { recursive: true }));
const authority = await Authority.make(join(dir, 'ca'));
const [first, second, client] = [await authority.issue('first'), await authority.issue('second'), await authority.issue('client')];
const files = { certificate: join(dir, 'tls.crt'), key: join(dir, 'tls.key') };
const install = (pair: { certificate: string; key: string }) => {
  for (const part of ['certificate', 'key'] as const) {
    copyFileSync(pair[part], `${files[part]}.new`);
    renameSync(`${files[part]}.new`, files[part]);
  }
};
install(first);

const backend = { exec: async () => 0, attach: async () => {}, dial: async () => Promise.reject(new Error('none')) };
const settings = { address: '127.0.0.1', port: 0, idleTimeoutMs: 10_000, creationTimeoutMs: 10_000 };
type Tls = { ca?: string; minVersion?: 'TLSv1.2' | 'TLSv1.3'; cipherSuites?: readonly string[] };
async function serving(tls: Tls = {}): Promise<StreamingServer> {
  const server = new StreamingServer(
    { ...settings, tls: { ...files, ca: '', minVersion: 'TLSv1.2', cipherSuites: [], ...tls } },
    backend,
    silentLogger,
  );
  after(async () => await server.close());
  await server.listen();
  return server;
}

const request = { kind: 'exec', containerId: 'c', command: ['x'], tty: false, stdin: false, stdout: true, stderr: false } as const;
async function greet(server: StreamingServer, options: object = {}): Promise<TLSSocket> {
  const url = new URL(server.urlFor(request));
  assert.equal(url.protocol, 'https:');
  const socket = connect({
    port: Number(url.port),
    host: '127.0.0.1',
    ca: pemOf({ certificate: authority.root, key: first.key }).cert,
    ...options,
  });
  await once(socket, 'secureConnect');
  const headers: [string, string][] = [
    ['Upgrade', 'SPDY/3.1'],
    ['X-Stream-Protocol-Version', 'v4.channel.k8s.io'],
  ];
  await requestUpgrade(socket, { method: 'POST', path: url.pathname, host: url.host, headers });
  return socket;
}

test('[E34 B28] the server speaks TLS with its certificate', async () => {
  const socket = await greet(await serving());
  assert.equal(socket.getPeerCertificate().subject.CN, 'first');
  socket.destroy();
});

test('[E34 B30] with a CA, clients need a certificate that it has signed', async () => {
  const server = await serving({ ca: authority.root });
  const { cert, key } = pemOf(client);
  (await greet(server, { cert, key })).destroy();
  await assert.rejects(greet(server));
});

test('[E35] the least version and the suites of TLS 1.2 are what is set', async () => {
  const newest = await serving({ minVersion: 'TLSv1.3' });
  await assert.rejects(greet(newest, { maxVersion: 'TLSv1.2' }));
  const one = await serving({ cipherSuites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'] });
  const socket = await greet(one, { maxVersion: 'TLSv1.2' });
  assert.equal(socket.getCipher().name, 'ECDHE-ECDSA-AES256-GCM-SHA384');
  socket.destroy();
  const known = new Set(getCiphers().map((name) => name.toUpperCase()));
  for (const name of [
    'TLS_RSA_WITH_AES_128_CBC_SHA',
    'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
    'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256',
    'TLS_AES_128_GCM_SHA256',
  ])
    assert.ok(known.has(opensslName(name)), opensslName(name));
});

test('[E36 E37 B29] a renewed certificate is served at once, a broken one is not', async () => {
  const server = await serving();
  install(second);
  const nameNow = async () => {
    const socket = await greet(server);
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };
  for (const deadline = Date.now() + 10_000; (await nameNow()) !== 'second';)
    assert.ok(Date.now() < deadline, 'not taken over in ten seconds');
  writeFileSync(files.certificate, 'nothing');
  assert.equal(await nameNow(), 'second');
  install(first);
  for (const deadline = Date.now() + 10_000; (await nameNow()) !== 'first';)
    assert.ok(Date.now() < deadline, 'not taken over in ten seconds');
});

test('[E34 E36] what cannot be served stops the start', async () => {
  install({ certificate: second.certificate, key: first.key });
  await assert.rejects(serving(), { kind: 'InvalidArgument', message: /^load stream server x509 key pair: / });
  rmSync(files.key);
  await assert.rejects(serving(), { message: /^load stream server x509 key pair: / });
  install(first);
});
