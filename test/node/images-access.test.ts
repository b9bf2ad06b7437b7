import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { codeOf, textOf } from '../../src/errors/index.ts';
import type { PullOptions, RegistryAuth } from '../../src/images/index.ts';
import { runOk } from '../../src/process/index.ts';
import { Authority, type Pair, pemOf } from '../harness/certificates.ts';
import { ImageFixture } from '../harness/image-fixture.ts';
import { layerOf } from '../harness/images.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { RegistryStorage } from '../harness/registry-storage.ts';
import { type RegistryOptions, startRegistry } from '../harness/registry.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';
import { TokenServer } from '../harness/token-server.ts';
import { toolPath } from '../harness/tools.ts';

inPrivateNetwork(import.meta.filename);

const fixture = new ImageFixture();
const storage = new RegistryStorage(join(fixture.dir, 'registry'));
let authority: Authority;
let server: Pair;

before(async () => {
  await fixture.start();
  authority = await Authority.make(join(fixture.dir, 'authority'));
  server = await authority.issue('server');
  storage.putImage('team/app', 'latest', { layers: [{ tar: await layerOf({ a: '1' }) }, { tar: await layerOf({ b: '2' }) }] });
});

afterEach(async () => {
  await fixture.nothingStaged();
  await fixture.clear();
  rmSync(join(fixture.dir, 'certs.d'), { recursive: true, force: true });
  rmSync(join(fixture.dir, 'auth.json'), { force: true });
  await fixture.configure({}, '');
  fixture.renew();
});

after(async () => await fixture.end());

/** Runs a registry for one test; every request of it is in the log. */
async function withRegistry(options: RegistryOptions, test: (host: string, log: () => string) => Promise<void>): Promise<void> {
  const registry = await startRegistry({ storage: storage.dir, ...options });
  try {
    await test(registry.host, () => registry.log());
  } finally {
    await registry.stop();
  }
}

async function withStandIn(
  test: (registry: StandInRegistry) => Promise<void>,
  tls?: ConstructorParameters<typeof StandInRegistry>[1],
): Promise<void> {
  const registry = new StandInRegistry(storage.dir, tls);
  await registry.start();
  try {
    await test(registry);
  } finally {
    await registry.stop();
  }
}

const insecure = (...hosts: string[]) => hosts.map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join('');
const pull = (host: string, options: PullOptions = {}) => fixture.images.pull(`${host}/team/app`, options);
const login = (username: string, password: string): { auth: RegistryAuth } => ({
  auth: { username, password, auth: '', serverAddress: '', identityToken: '', registryToken: '' },
});
const trust = (host: string) => {
  mkdirSync(join(fixture.dir, 'certs.d', host), { recursive: true });
  copyFileSync(authority.root, join(fixture.dir, 'certs.d', host, 'ca.crt'));
};

async function failure(work: Promise<unknown>): Promise<{ text: string; code: string | undefined }> {
  try {
    await work;
  } catch (error) {
    return { text: textOf(error), code: codeOf(error) };
  }
  throw new Error('it did not fail');
}

describe('TLS', () => {
  it("[I19] is verified against the host's directory of certs.d", async () => {
    await withRegistry({ tls: server }, async (host) => {
      const { text } = await failure(pull(host));
      assert.match(text, /tls: failed to verify certificate: x509: certificate signed by unknown authority$/);
      trust(host);
      await pull(host);
    });
  });

  it('[I19] shows the client certificate that lies there, and wants both of its files', async () => {
    const client = await authority.issue('client');
    const tls = { ...pemOf(server), ca: readFileSync(authority.root, 'utf8') };
    await withStandIn(async ({ host }) => {
      trust(host);
      await assert.rejects(pull(host));
      copyFileSync(client.certificate, join(fixture.dir, 'certs.d', host, 'client.cert'));
      assert.match(
        (await failure(pull(host))).text,
        /missing key client\.key for client certificate client\.cert\. Note that CA certificates should use the extension \.crt/,
      );
      copyFileSync(client.key, join(fixture.dir, 'certs.d', host, 'client.key'));
      await pull(host);
    }, tls);
  });

  it('[I18] is not verified for an insecure registry, and plain HTTP comes after it only there', async () => {
    await withRegistry({ tls: server }, async (host) => {
      await fixture.configure({}, insecure(host));
      await pull(host);
    });
    await withRegistry({}, async (host) => {
      await fixture.configure({}, '');
      assert.match((await failure(pull(host))).text, /http: server gave HTTP response to HTTPS client$/);
      await fixture.configure({}, insecure(host));
      await pull(host);
    });
  });
});

describe('a registry with a password', () => {
  const withPassword = async (test: (host: string, log: () => string) => Promise<void>) => {
    // bcrypt, which Debian's perl has by libcrypt.
    const hash = await runOk(['perl', '-e', 'print crypt("secret", q($2y$05$abcdefghijklmnopqrstuu))'], {
      timeoutMs: 10_000,
      env: { PATH: toolPath },
    });
    const htpasswd = fixture.write('htpasswd', `user:${hash.stdout.toString('utf8')}\n`);
    await withRegistry({ tls: server, auth: { kind: 'basic', htpasswd } }, async (host, log) => {
      trust(host);
      await test(host, log);
    });
  };

  it('[I3] takes that of the request; one ping tells how it wants it', async () => {
    await withPassword(async (host, log) => {
      await pull(host, login('user', 'secret'));
      const requests = log()
        .split('\n')
        .filter((line) => line.includes('"GET /v2/'));
      assert.equal(requests.filter((line) => line.includes('"GET /v2/ ')).length, 1);
      assert.equal(requests.filter((line) => line.includes(' 401 ')).length, 1);
    });
  });

  it('[I3] takes `auth` of the request instead of both', async () => {
    await withPassword(async (host) => {
      const auth = Buffer.from('user:secret').toString('base64');
      await pull(host, { auth: { ...login('user', 'wrong').auth, auth } });
    });
  });

  it('[C32] refuses another, and none', async () => {
    await withPassword(async (host) => {
      for (const options of [login('user', 'wrong'), {}]) {
        const { text, code } = await failure(pull(host, options));
        assert.match(text, /reading manifest latest in .*\/team\/app: authentication required/);
        assert.equal(code, 'UNAUTHORIZED');
      }
    });
  });

  it('[I24, I25] takes that of the auth file, the global one alone where there is one', async () => {
    await withPassword(async (host) => {
      const file = { auths: { [`${host}/team`]: { auth: Buffer.from('user:secret').toString('base64') } } };
      fixture.write('auth.json', JSON.stringify(file));
      await pull(host);
      await fixture.clear();
      await fixture.configure({ globalAuthFile: fixture.write('global.json', '{"auths":{}}') });
      await assert.rejects(pull(host));
      await fixture.configure({ globalAuthFile: '' });
    });
  });

  it("[I26] takes a namespace's one-time file once", async () => {
    await withPassword(async (host) => {
      const stem = `team-${createHash('sha256').update(`${host}/team/app`).digest('hex')}`;
      const file = { auths: { [host]: { auth: Buffer.from('user:secret').toString('base64') } } };
      const path = fixture.write(`auth/${stem}.json`, JSON.stringify(file));
      await pull(host, { namespace: 'team' });
      assert.ok(!existsSync(path));
      assert.match(fixture.logged, new RegExp(`Using auth file for namespace team: ${path}`));
      await assert.rejects(pull(host, { namespace: 'team' }));
    });
  });
});

describe('a registry with tokens', () => {
  const accounts = new Map([
    ['user', 'secret'],
    ['', ''],
    ['refresh', 'refresh-me'],
  ]);

  const withTokens = async (test: (host: string, tokens: TokenServer, log: () => string) => Promise<void>) => {
    const signer = await authority.issue('signer');
    const tokens = new TokenServer(server, signer, accounts);
    await tokens.start();
    const auth = { kind: 'token', realm: tokens.realm, service: 'the registry', issuer: 'test', rootCertificates: authority.root } as const;
    try {
      await withRegistry({ tls: server, auth }, async (host, log) => {
        trust(host);
        await test(host, tokens, log);
      });
    } finally {
      await tokens.stop();
    }
  };

  it('asks for one token a repository, with service, scope and password', async () => {
    await withTokens(async (host, tokens) => {
      await pull(host, login('user', 'secret'));
      const [asked, ...more] = tokens.asked;
      assert.deepEqual(more, []);
      assert.equal(asked?.authorization, `Basic ${Buffer.from('user:secret').toString('base64')}`);
      assert.deepEqual(
        [...(asked?.query ?? [])],
        [
          ['account', 'user'],
          ['service', 'the registry'],
          ['scope', 'repository:team/app:pull'],
        ],
      );
      await pull(host, login('user', 'secret'));
      assert.equal(tokens.asked.length, 1);
    });
  });

  it('sends no name where it has none, and needs no ping then', async () => {
    await withTokens(async (host, tokens, log) => {
      await assert.rejects(pull(host));
      assert.equal(tokens.asked[0]?.authorization, undefined);
      assert.ok(!log().includes('"GET /v2/ HTTP'));
    });
  });

  it('asks for another when the registry refuses the one it has', async () => {
    await withTokens(async (host, tokens) => {
      tokens.isTrusted = false;
      const { text } = await failure(pull(host, login('user', 'secret')));
      assert.match(text, /reading manifest latest in /);
      assert.equal(tokens.asked.length, 2);
      tokens.isTrusted = true;
      await pull(host, login('user', 'secret'));
      assert.equal(tokens.asked.length, 3);
    });
  });

  it('[I22] says when the password is wrong', async () => {
    await withTokens(async (host) => {
      const { text } = await failure(pull(host, login('user', 'wrong')));
      assert.match(text, /unable to retrieve auth token: invalid username\/password: unauthorized: incorrect username or password/);
    });
  });

  it('exchanges an identity token', async () => {
    await withTokens(async (host, tokens) => {
      await pull(host, { auth: { ...login('', '').auth, identityToken: 'refresh-me' } });
      assert.equal(tokens.asked[0]?.method, 'POST');
      assert.equal(tokens.asked[0]?.form.get('grant_type'), 'refresh_token');
      assert.equal(tokens.asked[0]?.form.get('scope'), 'repository:team/app:pull');
    });
  });

  it('[a44, a45] never asks over plain HTTP, unless the registry itself may', async () => {
    let asked = 0;
    await withStandIn(async (tokens) => {
      tokens.intercept = (_, response) => {
        asked++;
        response.writeHead(200).end('{"token":"t"}');
        return true;
      };
      await withStandIn(async (registry) => {
        trust(registry.host);
        registry.intercept = ({ headers }, response) => {
          if (headers.authorization === 'Bearer t') return false;
          response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="http://${tokens.host}/token",service="s"` }).end();
          return true;
        };
        assert.equal((await failure(pull(registry.host, login('user', 'secret')))).code, 'INSECURE_REALM');
        assert.equal(asked, 0);
        await fixture.configure({}, insecure(registry.host));
        await pull(registry.host, login('user', 'secret'));
        assert.equal(asked, 1);
      }, pemOf(server));
    });
  });
});

describe('other hosts', () => {
  it('[a44] that a blob is redirected to get no credentials', async () => {
    await withStandIn(async (other) => {
      await withStandIn(async (registry) => {
        await fixture.configure({}, insecure(registry.host));
        registry.intercept = ({ path, headers }, response) => {
          if (headers.authorization === undefined) {
            response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
            return true;
          }
          if (!path.includes('/blobs/')) return false;
          response.writeHead(307, { Location: `http://${other.host}${path}` }).end();
          return true;
        };
        await pull(registry.host, login('user', 'secret'));
        assert.equal(other.asked('/blobs/').length, 3);
        for (const { headers } of other.seen) assert.equal(headers.authorization, undefined);
      });
    });
  });

  it('[a44] over plain HTTP are not followed to from TLS', async () => {
    await withStandIn(async (other) => {
      await withStandIn(async (registry) => {
        trust(registry.host);
        registry.intercept = ({ path }, response) => {
          if (!path.includes('/blobs/')) return false;
          response.writeHead(307, { Location: `http://${other.host}${path}` }).end();
          return true;
        };
        assert.match((await failure(pull(registry.host))).text, /refused to be redirected from TLS to http:/);
        assert.equal(other.seen.length, 0);
      }, pemOf(server));
    });
  });

  it('[I16, p20] that are mirrors come first, without the credentials of the request', async () => {
    await withStandIn(async (mirror) => {
      await withStandIn(async (registry) => {
        const conf = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n[[registry.mirror]]\nlocation = "${mirror.host}/cache"\ninsecure = true\n`;
        await fixture.configure({}, conf);
        mirror.intercept = (_, response) => {
          response.writeHead(404).end('not here');
          return true;
        };
        await pull(registry.host, login('user', 'secret'));
        assert.deepEqual(mirror.asked('/v2/'), ['/v2/cache/team/app/manifests/latest']);
        assert.ok(mirror.seen.every(({ headers }) => headers.authorization === undefined));
        assert.match(fixture.logged, new RegExp(`Trying to access \\\\"${mirror.host}/cache/team/app:latest\\\\"`));
        registry.intercept = mirror.intercept;
        const { text } = await failure(pull(registry.host));
        const there = `${mirror.host}/cache/team/app`;
        const both = `(Mirrors also failed: [${there}:latest: reading manifest latest in ${there}: StatusCode: 404, "not here"]): ${registry.host}/team/app:latest: `;
        assert.ok(text.includes(both), text);
      });
    });
  });

  it('[I16, p16] that are mirrors give everything else once they gave the manifest, and the log tells the pull in one line', async () => {
    await withStandIn(async (mirror) => {
      storage.putImage('cache/team/app', 'latest', { layers: [{ tar: await layerOf({ mirrored: '1' }) }] });
      const conf = `[[registry]]\nprefix = "unreachable.invalid"\nlocation = "unreachable.invalid"\n[[registry.mirror]]\nlocation = "${mirror.host}/cache"\ninsecure = true\n`;
      await fixture.configure({}, conf);
      await pull('unreachable.invalid');
      assert.deepEqual(fixture.records()[0]?.names, ['unreachable.invalid/team/app:latest']);
      assert.equal(mirror.asked('/blobs/').length, 2);
      const from = RegExp.escape(`${mirror.host}/cache/team/app:latest`);
      const told = (news: string) =>
        new RegExp(
          `Stored image [0-9a-f]{64} from ${from}: 1 layers, ${news} in [0-9.]+ s \\(manifest [0-9.]+ s, policy [0-9.]+ s, layers [0-9.]+ s, record [0-9.]+ s\\)`,
        );
      assert.match(fixture.logged, told('1 of them new, 0.0 MB'));
      await pull('unreachable.invalid');
      assert.match(fixture.logged, told('0 of them new, 0.0 MB'));
    });
  });
});
