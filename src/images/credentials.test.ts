import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { textOf } from '../errors/index.ts';
import { silentLogger } from '../log/index.ts';
import { askHelper } from './credential-helper.ts';
import { AUTH_FILES_HELPER, findCredentials } from './credential-sources.ts';
import { type Credentials, Secret, fingerprint, fromRequest } from './credentials.ts';
import type { RegistryAuth } from './image.ts';
import { forgetOneTimeAuth, takeOneTimeAuth } from './namespaced-auth.ts';
import { normaliseReference } from './reference.ts';
import type { AuthFileSource } from './settings.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const auth = (fields: Partial<RegistryAuth>): RegistryAuth => ({
  username: '',
  password: '',
  auth: '',
  serverAddress: '',
  identityToken: '',
  registryToken: '',
  ...fields,
});
const shown = (credentials: Credentials | undefined) =>
  credentials === undefined ? undefined : `${credentials.username}/${credentials.password.reveal()}`;

const dir = mkdtempSync(join(tmpdir(), 'credentials-'));
after(() => rmSync(dir, { recursive: true }));

function file(name: string, contents: unknown, format: AuthFileSource['format'] = 'auths'): AuthFileSource {
  const path = join(dir, name);
  writeFileSync(path, typeof contents === 'string' ? contents : JSON.stringify(contents));
  return { path, format };
}

/** Puts a helper on a PATH of its own; answers the environment with it. */
function program(name: string, script: string): Record<string, string> {
  const bin = mkdtempSync(join(dir, 'bin-'));
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { PATH: `${bin}:/usr/bin:/bin` };
}

async function lookUp(
  image: string,
  files: readonly AuthFileSource[],
  helpers: readonly string[] = [AUTH_FILES_HELPER],
  env: Record<string, string> = { PATH: '/usr/bin:/bin' },
): Promise<Credentials | undefined> {
  return await findCredentials(normaliseReference(image), { files, helpers, env }, silentLogger);
}

describe('credentials of a request', () => {
  it('[I3] are user and password, or what auth holds instead of them', () => {
    assert.equal(shown(fromRequest(auth({ username: 'u', password: 'p' }))), 'u/p');
    assert.equal(shown(fromRequest(auth({ username: 'u', password: 'p', auth: base64('a:b:c') }))), 'a/b:c');
    assert.equal(shown(fromRequest(auth({ auth: base64('a:b\0\0') }))), 'a/b');
    assert.equal(fromRequest(auth({ auth: base64('no colon') })), undefined);
    assert.equal(fromRequest(auth({ password: 'p' })), undefined);
    assert.equal(fromRequest(undefined), undefined);
  });

  it('[I3] are refused where auth is no base64, as Go says it', () => {
    for (const [text, at] of [
      ['a', 0],
      ['ab', 0],
      ['YWI', 0],
      ['YW!=', 2],
      ['YTpi YQ==', 4],
      ['YTpiYQ=', 7],
      ['YTpiYQ==x', 8],
      ['====', 0],
    ] as const) {
      assert.throws(
        () => fromRequest(auth({ auth: text })),
        (error) => textOf(error) === `illegal base64 data at input byte ${at}`,
        text,
      );
    }
  });

  it('[I3] survive encoding, whatever user and password', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[^:\0]{1,12}$/), fc.stringMatching(/^[^\0]{0,12}$/), (user, password) => {
        assert.equal(shown(fromRequest(auth({ auth: base64(`${user}:${password}`) }))), `${user}/${password}`);
      }),
    );
  });

  it('[a46] show themselves nowhere', () => {
    const credentials = fromRequest(auth({ username: 'u', password: 'canary', identityToken: 'canary' }));
    for (const text of [
      inspect(credentials, { depth: 9, showHidden: true }),
      JSON.stringify(credentials),
      credentials?.password.toString() ?? '',
      fingerprint(credentials),
    ]) {
      assert.ok(!text.includes('canary'), text);
    }
    assert.equal(new Secret('canary').reveal(), 'canary');
  });
});

describe('credential files', () => {
  const look = async (image: string, ...files: AuthFileSource[]) => shown(await lookUp(image, files));

  it('[I25] are searched by the repository, each shorter path, the registry, then its URLs', async () => {
    const entry = (text: string) => ({ auth: base64(text) });
    const auths = {
      'x.io/a/b': entry('ab:1'),
      'x.io/a': entry('a:1'),
      'x.io': entry('x:1'),
      'https://y.io/v2/': entry('y:1'),
      'https://index.docker.io/v1/': entry('hub:1'),
    };
    const files = file('order.json', { auths });
    assert.equal(await look('x.io/a/b:tag', files), 'ab/1');
    assert.equal(await look('x.io/a/c', files), 'a/1');
    assert.equal(await look('x.io/other', files), 'x/1');
    assert.equal(await look('y.io/app', files), 'y/1');
    assert.equal(await look('busybox', files), 'hub/1');
    assert.equal(await look('z.io/app', files), undefined);
  });

  it('[I24] are asked in order; the first that knows the registry wins', async () => {
    const missing = { path: join(dir, 'missing.json'), format: 'auths' as const };
    const first = file('first.json', { auths: { 'x.io': { auth: base64('first:1') }, 'e.io': {} } });
    const second = file('second.json', { auths: { 'x.io': { auth: base64('second:1') }, 'e.io': { auth: base64('e:1') } } });
    const old = file('dockercfg', { 'https://old.io/v1/': { auth: base64('old:1') } }, 'dockercfg');
    assert.equal(await look('x.io/a', missing, first, second), 'first/1');
    assert.equal(await look('e.io/a', first, second), 'e/1');
    assert.equal(await look('old.io/a', first, old), 'old/1');
  });

  it('[I25, a46] that cannot be read are named, and nothing in them is shown', async () => {
    const broken = file('broken.json', '{"auths":{"x.io":{"auth":"canary"');
    await assert.rejects(look('x.io/a', broken), (error) => {
      assert.equal(textOf(error), `getting username and password: reading JSON file ${JSON.stringify(broken.path)}: invalid JSON`);
      assert.ok(!inspect(error, { depth: 9 }).includes('canary'));
      return true;
    });
  });

  it('[I24] are asked in the place that credential-helpers gives them', async () => {
    const helper = program('docker-credential-first', 'echo \'{"ServerURL":"x.io","Username":"helped","Secret":"s"}\'');
    const files = [file('second.json', { auths: { 'x.io': { auth: base64('filed:1') } } })];
    assert.equal(shown(await lookUp('x.io/a', files, ['first', AUTH_FILES_HELPER], helper)), 'helped/s');
    assert.equal(shown(await lookUp('x.io/a', files, [AUTH_FILES_HELPER, 'first'], helper)), 'filed/1');
  });
});

describe('a credential helper', () => {
  const withHelper = (script: string) => {
    const env = program('docker-credential-test', script);
    return lookUp('x.io/a', [file('helper.json', { credHelpers: { 'x.io': 'test' } })], [AUTH_FILES_HELPER], env);
  };

  it('[I25] is asked for the registry, on its input, and answers user and secret', async () => {
    const script = 'read -r registry; echo "{\\"Username\\":\\"$1@$registry\\",\\"Secret\\":\\"s\\"}"';
    assert.equal(shown(await withHelper(script)), 'get@x.io/s');
  });

  it('[I25] may answer an identity token', async () => {
    const found = await withHelper('echo \'{"Username":"<token>","Secret":"t"}\'');
    assert.equal(found?.identityToken?.reveal(), 't');
    assert.equal(found?.username, '');
  });

  it('[I25] that knows nothing of a registry is no error; any other end is one, and shows no secret', async () => {
    assert.equal(await withHelper('echo "credentials not found in native keychain"; exit 1'), undefined);
    await assert.rejects(
      withHelper('echo "no key ring" >&2; exit 1'),
      /getting username and password: error getting credentials - credential helper test: "no key ring": exit status 1/,
    );
    await assert.rejects(withHelper('echo canary'), (error) => {
      assert.ok(!inspect(error, { depth: 9 }).includes('canary'));
      return /its answer is no JSON/.test(textOf(error));
    });
    const missing = [file('missing-helper.json', { credHelpers: { 'x.io': 'nowhere' } })];
    await assert.rejects(lookUp('x.io/a', missing), /credential helper nowhere: cannot run docker-credential-nowhere: ENOENT/);
    const odd = [file('odd-helper.json', { credHelpers: { 'x.io': '../../tmp/x' } })];
    await assert.rejects(lookUp('x.io/a', odd), /is no name of a program/);
  });

  it('[I25] that hangs is ended, and that is no deadline of the client', async () => {
    const env = program('docker-credential-hang', 'exec sleep 60');
    await assert.rejects(askHelper('hang', 'x.io', env, undefined, 200), {
      kind: 'Unavailable',
      message: /credential helper hang: `docker-credential-hang get` did not end within 200 ms/,
    });
    await assert.rejects(askHelper('hang', 'x.io', env, AbortSignal.timeout(200)), { name: 'TimeoutError' });
  });

  it('[a75] sees the environment that tells it where to look, and nothing that steers loaders', async () => {
    const env = {
      ...program('docker-credential-env', `env > ${dir}/seen; echo '{}'`),
      AWS_PROFILE: 'team',
      LD_PRELOAD: '',
      NODE_OPTIONS: '-v',
    };
    await lookUp('x.io/a', [file('env.json', { credHelpers: { 'x.io': 'env' } })], [AUTH_FILES_HELPER], env);
    const seen = readFileSync(join(dir, 'seen'), 'utf8');
    assert.match(seen, /^AWS_PROFILE=team$/m);
    assert.doesNotMatch(seen, /^(LD_|NODE_)/m);
  });
});

describe('one-time credentials of a namespace', () => {
  it('[I26, I27] are moved aside for the pull and removed after it', async () => {
    const name = 'docker.io/library/busybox';
    const stem = `team-${createHash('sha256').update(name).digest('hex')}`;
    writeFileSync(join(dir, `${stem}.json`), '{}');
    const taken = await takeOneTimeAuth(dir, 'team', 'busybox:1.36', silentLogger);
    assert.ok(taken);
    assert.match(taken.path, new RegExp(`/in-use/${stem}-[0-9a-f-]{36}\\.json$`));
    assert.equal(statSync(join(dir, 'in-use')).mode & 0o777, 0o700);
    assert.ok(!existsSync(join(dir, `${stem}.json`)));
    await taken.end();
    assert.deepEqual(readdirSync(join(dir, 'in-use')), []);
    assert.equal(await takeOneTimeAuth(dir, 'team', 'busybox', silentLogger), undefined);
    assert.equal(await takeOneTimeAuth(dir, '', 'busybox', silentLogger), undefined);
    await assert.rejects(takeOneTimeAuth(dir, '../x', 'busybox', silentLogger), /invalid namespace/);
    await assert.rejects(takeOneTimeAuth(dir, 'team', 'BUSYBOX', silentLogger), /^Failure: prepare temp auth file: parse image name: /);
  });

  it('[I26, a46] that a daemon had taken when it was killed are gone when the next one starts', async () => {
    const own = mkdtempSync(join(dir, 'killed-'));
    await forgetOneTimeAuth(own, silentLogger);
    writeFileSync(join(own, `team-${createHash('sha256').update('x.io/a').digest('hex')}.json`), '{}');
    assert.ok(await takeOneTimeAuth(own, 'team', 'x.io/a', silentLogger));
    await forgetOneTimeAuth(own, silentLogger);
    assert.deepEqual(readdirSync(own, { recursive: true }), ['in-use']);
  });

  it('[I26] that cannot be moved are removed all the same', async () => {
    const own = mkdtempSync(join(dir, 'blocked-'));
    writeFileSync(join(own, 'in-use'), 'a file where the directory belongs');
    const laidDown = join(own, `team-${createHash('sha256').update('x.io/a').digest('hex')}.json`);
    writeFileSync(laidDown, '{}');
    chmodSync(laidDown, 0o600);
    await assert.rejects(
      takeOneTimeAuth(own, 'team', 'x.io/a', silentLogger),
      /^Failure: prepare temp auth file: unable to ensure in-use auth dir: /,
    );
    assert.ok(!existsSync(laidDown));
  });
});
