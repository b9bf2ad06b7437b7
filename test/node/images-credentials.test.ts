import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type Server, createServer, request as httpRequest } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { runOk } from '../../src/process/index.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { type RunningRegistry, startRegistry } from '../harness/registry.ts';
import { toolPath } from '../harness/tools.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
/** Not this machine's own loopback, which no proxy is asked for. */
const ADDRESS = '10.9.8.7';
let registry: RunningRegistry;
let host: string;

before(async () => {
  execFileSync('ip', ['address', 'add', `${ADDRESS}/32`, 'dev', 'lo']);
  await fixture.start();
  storage.putImage('team/app', 'latest', { layers: [{ tar: await layerOf({ a: '1' }) }] });
  const script = 'print crypt("secret", q($2y$05$abcdefghijklmnopqrstuu))'; // bcrypt, which Debian's perl has by libcrypt.
  const hash = (await runOk(['perl', '-e', script], { timeoutMs: 10_000, env: { PATH: toolPath } })).stdout.toString('utf8');
  const htpasswd = fixture.write('htpasswd', `user:${hash}\n`);
  registry = await startRegistry({ storage: storage.dir, address: `${ADDRESS}:0`, auth: { kind: 'basic', htpasswd } });
  host = registry.host.replace('127.0.0.1', ADDRESS);
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
});

after(async () => {
  await registry.stop();
  await fixture.end();
});

const conf = (more = '') => `${more}[[registry]]\nlocation = "${host}"\ninsecure = true\n`;
const pull = () => fixture.images.pull(`${host}/team/app`);

/** A helper that logs what it is asked, and the environment with it. */
function helper(answer: string): { env: Record<string, string>; asked: () => string } {
  const log = fixture.write('asked', '');
  const path = fixture.write('bin/docker-credential-cloud', `#!/bin/sh\ncat >> ${log}\necho '${answer}'\n`);
  execFileSync('chmod', ['755', path]);
  return { env: { PATH: `${join(fixture.dir, 'bin')}:/usr/bin:/bin` }, asked: () => readFileSync(log, 'utf8') };
}

describe('credentials from a helper program', () => {
  const answer = '{"ServerURL":"","Username":"user","Secret":"secret"}';

  it('[I25] that an auth file names for the registry let the pull through', async () => {
    const { env, asked } = helper(answer);
    fixture.write('auth.json', JSON.stringify({ auths: { [host]: { auth: 'bm9ib2R5Om5vdGhpbmc=' } }, credHelpers: { [host]: 'cloud' } }));
    await fixture.configure({ env }, conf());
    fixture.renew();
    await pull();
    assert.equal(asked(), host);
    fixture.write('auth.json', '{}');
    await assert.rejects(pull());
  });

  it('[I24] that registries.conf names come before the auth files', async () => {
    const { env, asked } = helper(answer);
    fixture.write('auth.json', JSON.stringify({ auths: { [host]: { auth: 'bm9ib2R5Om5vdGhpbmc=' } } }));
    await fixture.configure({ env }, conf('credential-helpers = ["cloud", "containers-auth.json"]\n'));
    fixture.renew();
    await pull();
    assert.equal(asked(), host);
    fixture.write('auth.json', '{}');
  });

  it('[a46] that fails are told with what the helper said, and show no secret anywhere', async () => {
    const { env } = helper('{"Username":"user","Secret":"canary",');
    await fixture.configure({ env }, conf('credential-helpers = ["cloud"]\n'));
    fixture.renew();
    const error = await pull().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.match(
      String(error),
      /getting username and password: error getting credentials - credential helper cloud: its answer is no JSON/,
    );
    assert.ok(!`${String(error)}${fixture.logged}`.includes('canary'));
  });
});

describe('the pause image', () => {
  it('[I83, B131] is pulled with its own credentials, which no other image gets', async () => {
    const own = fixture.write('pause.json', JSON.stringify({ auths: { [host]: { auth: Buffer.from('user:secret').toString('base64') } } }));
    await fixture.configure({ pauseImage: `${host}/team/app`, pauseImageAuthFile: own, env: {} }, conf());
    fixture.renew();
    await assert.rejects(pull(), /authentication required/);
    await fixture.images.pullPauseImage();
    assert.ok(await fixture.images.find(`${host}/team/app`));
    await fixture.configure({ pauseImageAuthFile: '' });
  });
});

describe('a proxy', () => {
  const login = { username: 'user', password: 'secret', auth: '', serverAddress: '', identityToken: '', registryToken: '' };
  const asked: string[] = [];
  let proxy: Server;

  before(async () => {
    proxy = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      const target = new URL(request.url ?? '');
      const { method, headers } = request;
      const forwarded = httpRequest(target, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      forwarded.on('error', () => response.destroy());
      request.pipe(forwarded);
    });
    proxy.on('connect', (request, socket: Socket) => {
      asked.push(`CONNECT ${request.url}`);
      const [name = '', port] = (request.url ?? '').split(':');
      const tunnel = connect(Number(port), name, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        tunnel.pipe(socket).pipe(tunnel);
      });
      for (const end of [tunnel, socket]) end.on('error', () => [tunnel, socket].forEach((other) => other.destroy()));
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
  });

  after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  const use = async (env: Record<string, string>) => {
    asked.length = 0;
    await fixture.configure({ env }, conf());
    fixture.renew();
    await fixture.images.pull(`${host}/team/app`, { auth: login });
  };

  it('of the environment is on the way to registries, tunnelled where the registry speaks TLS', async () => {
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await use({ HTTPS_PROXY: url, HTTP_PROXY: url });
    assert.ok(asked.includes(`CONNECT ${host}`), asked.join('\n'));
    assert.ok(asked.includes(`GET http://${host}/v2/team/app/manifests/latest`), asked.join('\n'));
  });

  it('[I18] is asked for docker.io by the name that its registry has', async () => {
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    asked.length = 0;
    await fixture.configure({ env: { HTTPS_PROXY: url } }, conf());
    fixture.renew();
    await assert.rejects(fixture.images.pull('docker.io/busybox'));
    assert.deepEqual(new Set(asked), new Set(['CONNECT registry-1.docker.io:443']));
  });

  it('is not used for what NO_PROXY covers by an address block', async () => {
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await use({ HTTPS_PROXY: url, HTTP_PROXY: url, NO_PROXY: '.svc,10.9.0.0/16' });
    assert.deepEqual(asked, []);
  });
});
