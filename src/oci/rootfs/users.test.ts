import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import { openRoot } from '../../linux/index.ts';
import { runOk } from '../../process/index.ts';
import { securityContext } from '../../../test/fixtures/spec-inputs.ts';
import { type Accounts, lookupUser, readAccounts, userString, writeUserFiles } from './index.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-users-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/app:/bin/sh\n4242:x:7:7::/:\nbroken:x:abc:0::/:\n';
const GROUP = 'root:x:0:root\nwheel:x:10:root,app\napp:x:1001:\nextra:x:44:app\nbroken:x:zz:app\n';

/** A rootfs with these files, opened; closed with the test. */
function withRoot<T>(files: Record<string, string>, use: (rootFd: number, root: string) => T): T {
  const root = mkdtempSync(join(dir, 'root'));
  mkdirSync(join(root, 'etc'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
  using fd = openRoot(root);
  return use(fd.fd, root);
}

const accounts: Accounts = withRoot({ 'etc/passwd': PASSWD, 'etc/group': GROUP }, (fd) => readAccounts(fd));
const user = (text: string, over: Parameters<typeof securityContext>[0] = {}) => lookupUser(accounts, text, securityContext(over));

test('[F20] whose name for the user counts', () => {
  assert.equal(userString(securityContext({ runAsUsername: 'a', runAsUser: { value: 1n } }), 'i'), 'a');
  assert.equal(userString(securityContext({ runAsUser: { value: 1n } }), 'i'), '1');
  assert.equal(userString(securityContext(), 'i'), 'i');
  assert.equal(userString(undefined, ''), '');
  assert.throws(() => userString(securityContext({ runAsGroup: { value: 1n } }), ''), {
    message: 'user group is specified without user or username',
  });
});

test('[F21 F22] names and numbers, alone and with a group', () => {
  assert.deepEqual(user(''), { uid: 0, gid: 0, additionalGids: [0, 10] });
  assert.deepEqual(user('app'), { uid: 1000, gid: 1001, additionalGids: [1001, 10, 44] });
  assert.deepEqual(user('1000'), { uid: 1000, gid: 1001, additionalGids: [1001, 10, 44] });
  assert.deepEqual(user('app:extra'), { uid: 1000, gid: 44, additionalGids: [44] });
  assert.deepEqual(user('5:6'), { uid: 5, gid: 6, additionalGids: [6] });
  assert.deepEqual(user('5'), { uid: 5, gid: 0, additionalGids: [0] });
  assert.deepEqual(user('4242'), { uid: 4242, gid: 0, additionalGids: [0] });
  assert.throws(() => user('nobody'), { message: 'get exec user: unable to find user nobody: no matching entries in passwd file' });
  assert.throws(() => user('broken'), { message: 'get exec user: unable to find user broken: no matching entries in passwd file' });
  assert.throws(() => user('app:none'), { message: 'get exec user: unable to find group none: no matching entries in group file' });
});

test('[F23 a31] the primary group first; Merge adds those of the image, Strict does not', () => {
  const over = { runAsGroup: { value: 5n }, supplementalGroups: [10n, 7n, 5n] };
  assert.deepEqual(user('app', over).additionalGids, [5, 10, 44, 7]);
  assert.deepEqual(user('app', { ...over, supplementalGroupsPolicy: 1 }).additionalGids, [5, 10, 7]);
  assert.throws(() => user('app', { supplementalGroupsPolicy: 2 }), {
    message: 'not implemented in this CRI-O release: SupplementalGroupsPolicy=2',
  });
});

test('[a32] a number that is too big, signed or odd is never another user', () => {
  const range = 'get exec user: uids and gids must be in range 0-2147483647';
  for (const big of ['2147483648', '4294967295', '4294967296', '-1', `1${'0'.repeat(400)}`, '0:2147483648', '-1:0'])
    assert.throws(() => user(big), { message: range }, big);
  for (const name of ['0x0', ' 0', '1e3', '\uff10', '0 ', '٠']) assert.throws(() => user(name), { code: undefined, name: 'Failure' }, name);
  assert.deepEqual([user('2147483647').uid, user('00').uid, user('+0').uid], [2147483647, 0, 0]);
  assert.throws(() => user('app', { runAsGroup: { value: 2n ** 31n } }), { message: range });
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const found = user(text);
        return /^[+-]?0*\d{1,10}(:|$)/.test(text) || text === '' || text.startsWith(':') || /^(root|app)(:|$)/.test(text)
          ? found.uid >= 0
          : false;
      } catch (error) {
        return error instanceof Failure;
      }
    }),
  );
});

test('[a28 a29] account files of every kind but a small regular one: a clear error, at once', async () => {
  const kinds: [string, (path: string) => unknown][] = [
    ['fifo', (path) => runOk(['mkfifo', path], { timeoutMs: 5000 })],
    ['device', (path) => runOk(['mknod', path, 'c', '1', '5'], { timeoutMs: 5000 })],
    ['directory', (path) => mkdirSync(path)],
    ['sparse', (path) => (writeFileSync(path, ''), truncateSync(path, 5e9))],
    ['loop', (path) => symlinkSync('passwd', path)],
  ];
  for (const [kind, make] of kinds) {
    const root = mkdtempSync(join(dir, kind));
    mkdirSync(join(root, 'etc'));
    await make(join(root, 'etc/passwd'));
    using fd = openRoot(root);
    const started = performance.now();
    assert.throws(() => readAccounts(fd.fd), { name: 'Failure', message: /^get exec user: / }, kind);
    assert.ok(performance.now() - started < 500, kind);
  }
});

test('[F21 a24] links of the image stay in the image', () => {
  writeFileSync(join(dir, 'canary'), 'canary:x:5:5::/:\n');
  for (const link of [join(dir, 'canary'), `../../..${join(dir, 'canary')}`, '/proc/self/root/etc/passwd'])
    withRoot({}, (fd, root) => {
      symlinkSync(link, join(root, 'etc/passwd'));
      assert.deepEqual(readAccounts(fd).users, []);
    });
  withRoot({ real: PASSWD }, (fd, root) => {
    symlinkSync('/real', join(root, 'etc/passwd'));
    assert.equal(readAccounts(fd).users.length, 3);
  });
});

interface Files {
  readonly uid?: number;
  readonly gid?: number;
  readonly home?: string;
  readonly mode?: number;
  readonly passwd?: string;
  readonly mounted?: string[];
}

async function userFiles(over: Files) {
  const root = mkdtempSync(join(dir, 'uf'));
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/passwd'), over.passwd ?? PASSWD);
  writeFileSync(join(root, 'etc/group'), GROUP);
  chmodSync(join(root, 'etc/passwd'), over.mode ?? 0o640);
  const runDir = mkdtempSync(join(dir, 'run'));
  using fd = openRoot(root);
  const uid = over.uid ?? 5000;
  const gid = over.gid ?? 0;
  const mounts = await writeUserFiles({
    rootFd: fd.fd,
    runDir,
    accounts: readAccounts(fd.fd),
    user: { uid, gid, additionalGids: [gid] },
    userText: `${uid}:${gid}`,
    env: over.home === undefined ? [] : [`HOME=${over.home}`],
    mounted: new Set(over.mounted),
    idMappings: undefined,
  });
  return { mounts, runDir };
}

test('[F24 F26 F27] one more line in a copy of passwd, one in group', async () => {
  const { mounts, runDir } = await userFiles({ gid: 6000, home: '/h', passwd: PASSWD.trimEnd() });
  assert.deepEqual(mounts, [
    { destination: '/etc/passwd', type: 'bind', source: join(runDir, 'passwd'), options: ['rw', 'bind', 'nodev', 'nosuid', 'noexec'] },
    { destination: '/etc/group', type: 'bind', source: join(runDir, 'group'), options: ['rw', 'bind', 'nodev', 'nosuid', 'noexec'] },
  ]);
  assert.equal(readFileSync(join(runDir, 'passwd'), 'utf8'), `${PASSWD}5000:x:5000:6000:5000 user:/h:/sbin/nologin\n`);
  assert.equal(readFileSync(join(runDir, 'group'), 'utf8'), `${GROUP}6000:x:6000:\n`);
  assert.equal(statSync(join(runDir, 'passwd')).mode & 0o777, 0o640);
});

test('[F25] files that are left alone', async () => {
  const none = async (over: Files) => assert.deepEqual((await userFiles(over)).mounts, []);
  await none({ uid: 1000 });
  await none({ passwd: '' });
  await none({ mode: 0o664 });
  await none({ mode: 0o646 });
  await none({ mounted: ['/etc'] });
  await none({ mounted: ['/etc/passwd'] });
});

test('[F24 a21] nothing gets into passwd but one line of seven fields', async () => {
  for (const home of ['/x:y', '/x\u2028y', '/x\0', '/x\ny', '/x\u0085', '/x\ry'])
    await assert.rejects(userFiles({ home }), { kind: 'InvalidArgument' }, home);
  const { runDir } = await userFiles({ home: '/Ü $(x) ;' });
  const added = readFileSync(join(runDir, 'passwd'), 'utf8').slice(PASSWD.length).split('\n');
  assert.deepEqual([added.length, added[0]?.split(':').length], [2, 7]);
});
