import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRoot } from '../../linux/index.ts';
import { silentLogger } from '../../log/index.ts';
import { UndoStack } from '../../sync/index.ts';
import {
  imageMount,
  parseMountsConf,
  prepareEmptyDirectory,
  prepareEtc,
  prepareImageVolumes,
  prepareSubscriptions,
  prepareTimezone,
  prepareWorkingDirectory,
  resolvConf,
  writeContainerEnv,
  writeHostname,
  writeResolvConf,
} from './index.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-etc-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const fresh = (name: string) => mkdtempSync(join(dir, name));
const owner = { uid: 1234, gid: 1235 };

test('[F72] /etc and its mtab are made if missing', () => {
  const root = fresh('root');
  using fd = openRoot(root);
  assert.equal(prepareEtc(fd.fd, owner), undefined);
  assert.equal(readlinkSync(join(root, 'etc/mtab')), '/proc/mounts');
  const { mode, uid } = statSync(join(root, 'etc'));
  assert.deepEqual([mode & 0o777, uid], [0o755, 1234]);
  assert.equal(prepareEtc(fd.fd, owner), undefined);
});

test('[F72] an mtab of the image stays, and a file in the place of /etc only warns', () => {
  const root = fresh('root');
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/mtab'), 'own');
  {
    using fd = openRoot(root);
    prepareEtc(fd.fd, undefined);
  }
  assert.equal(readFileSync(join(root, 'etc/mtab'), 'utf8'), 'own');
  const odd = fresh('root');
  writeFileSync(join(odd, 'etc'), '');
  using fd = openRoot(odd);
  assert.match(prepareEtc(fd.fd, undefined) ?? '', /not a directory/);
});

test('[a24 a35] links in the image lead nowhere but into it', async () => {
  const canary = fresh('canary');
  for (const [name, target] of [
    ['etc', canary],
    ['etc', `../../../..${canary}`],
    ['work', canary],
    ['vol', canary],
    ['etc', '/proc/self/cwd'],
  ] as const) {
    const root = fresh('root');
    symlinkSync(target, join(root, name));
    using fd = openRoot(root);
    const attempt = (work: () => unknown) => {
      try {
        work();
      } catch (error) {
        assert.equal((error as Error).name, 'Failure');
      }
    };
    attempt(() => prepareEtc(fd.fd, undefined));
    attempt(() => prepareWorkingDirectory(fd.fd, `/${name}/deep/er`, undefined));
    const undo = new UndoStack(silentLogger);
    await prepareImageVolumes({ volumes: [`/${name}/v`], mode: 'mkdir', rootFd: fd.fd, runDir: root, owner, undo }).catch(() => {});
  }
  assert.deepEqual(readdirSync(canary), []);
  assert.ok(!existsSync('deep') && !existsSync('mtab') && !existsSync('v'));
});

test('[F16 a35] the working directory, inside the root, of the mapped root', () => {
  const root = fresh('root');
  using fd = openRoot(root);
  prepareWorkingDirectory(fd.fd, '/a/../b/c', owner);
  assert.deepEqual([statSync(join(root, 'b/c')).uid, statSync(join(root, 'b/c')).mode & 0o777], [1234, 0o755]);
  writeFileSync(join(root, 'file'), '');
  assert.throws(() => prepareWorkingDirectory(fd.fd, '/file/x', owner), { kind: 'InvalidArgument' });
});

test('[F96 I85 a03 a37] volumes of the image', async () => {
  const root = fresh('root');
  const runDir = fresh('run');
  using fd = openRoot(root);
  const undo = new UndoStack(silentLogger);
  const volumes = ['/data', '/../../../up', 'rel', '/proc', '/sys/fs/cgroup', '/dev/x', '/', '/proc/self/attr', `/${'x'.repeat(5000)}`, ''];
  const made = await prepareImageVolumes({ volumes, mode: 'mkdir', rootFd: fd.fd, runDir, owner, undo });
  assert.deepEqual([made.mounts, made.warnings.length], [[], 7]);
  assert.deepEqual(readdirSync(root).toSorted(), ['data', 'rel', 'up']);
  assert.deepEqual([statSync(join(root, 'data')).uid, statSync(join(root, 'data')).gid], [1234, 1235]);
  const bound = await prepareImageVolumes({ volumes, mode: 'bind', rootFd: fd.fd, runDir, owner, undo });
  assert.deepEqual(
    bound.mounts.map((mount) => [mount.destination, mount.options]),
    ['/data', '/up', '/rel'].map((path) => [path, ['private', 'bind', 'rw']]),
  );
  assert.equal(readdirSync(join(runDir, 'mounts')).length, 3);
  await undo.run();
  assert.deepEqual(readdirSync(join(runDir, 'mounts')), []);
  assert.deepEqual(await prepareImageVolumes({ volumes, mode: 'ignore', rootFd: fd.fd, runDir, owner, undo }), {
    mounts: [],
    warnings: [],
  });
});

test('[F91] images as volumes: lower directories alone, one of them empty', async () => {
  const empty = join(fresh('exits'), 'image-volumes');
  assert.deepEqual(imageMount('/m', '/lower', await prepareEmptyDirectory(empty)), {
    destination: '/m',
    type: 'overlay',
    source: 'overlay',
    options: [`lowerdir=/lower:${empty}`],
  });
  assert.equal(statSync(empty).mode & 0o777, 0o700);
  writeFileSync(join(empty, 'x'), '');
  await assert.rejects(prepareEmptyDirectory(empty), { message: `image volumes path ${empty} is not empty` });
});

test('[D47 D54 D55] resolv.conf, hostname and .containerenv of a pod', async () => {
  const run = fresh('run');
  const dns = { servers: ['10.96.0.10', '1.1.1.1'], searches: ['ns.svc.cluster.local', 'svc'], options: ['ndots:5', 'edns0'] };
  assert.equal(
    readFileSync(await writeResolvConf(run, dns, owner), 'utf8'),
    'search ns.svc.cluster.local svc\nnameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:5 edns0\n',
  );
  assert.equal(statSync(join(run, 'resolv.conf')).uid, 1234);
  assert.equal(resolvConf({ servers: [], searches: [], options: [] }), undefined);
  const host = existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : '';
  assert.equal(readFileSync(await writeResolvConf(run, undefined), 'utf8'), host);
  const hostname = await writeHostname(run, 'web');
  assert.deepEqual([readFileSync(hostname, 'utf8'), statSync(hostname).mode & 0o777], ['web\n', 0o644]);
  assert.equal(readFileSync(await writeContainerEnv(run), 'utf8'), '');
});

test('[a21] no line breaks through names', async () => {
  for (const bad of ['a\nnameserver 6.6.6.6', 'a b', 'a\r', 'a\u2028', '\0']) {
    assert.throws(() => resolvConf({ servers: [], searches: [bad], options: [] }), { kind: 'InvalidArgument' });
    assert.throws(() => resolvConf({ servers: [bad], searches: [], options: [] }), { kind: 'InvalidArgument' });
    await assert.rejects(writeHostname(dir, bad), { kind: 'InvalidArgument' });
  }
});

test('[F97] lines of mounts.conf', () => {
  const warnings: string[] = [];
  assert.deepEqual(parseMountsConf('# c\n/a:/b\n /c \nrel:/x\n/a:b\n/a:/\n/a:/b:/c\n', 'f', warnings), [
    { source: '/a', destination: '/b' },
    { source: '/c', destination: '/c' },
  ]);
  assert.equal(warnings.length, 3);
});

test('[F97 F98] host content is copied once, with its modes, and bound', async () => {
  const source = fresh('host');
  mkdirSync(join(source, 'sub'), { mode: 0o750 });
  writeFileSync(join(source, 'sub/key'), 'k', { mode: 0o400 });
  symlinkSync('sub/key', join(source, 'link'));
  const conf = join(dir, 'mounts.conf');
  writeFileSync(conf, `${source}:/run/secrets\n/does/not/exist:/x\n`);
  const runDir = fresh('run');
  const request = { defaultMountsFile: conf, runDir, owner };
  const first = await prepareSubscriptions(request);
  const copy = join(runDir, 'run/secrets');
  assert.deepEqual(first.mounts, [{ destination: '/run/secrets', type: 'bind', source: copy, options: ['bind', 'rprivate'] }]);
  assert.equal(first.warnings.length, 1);
  const key = statSync(join(copy, 'sub/key'));
  assert.deepEqual([key.mode & 0o777, key.uid, readlinkSync(join(copy, 'link'))], [0o400, 1234, 'sub/key']);
  writeFileSync(join(source, 'later'), '');
  await prepareSubscriptions(request);
  assert.ok(!existsSync(join(copy, 'later')));
});

test('[F73] the time zone: a link into the image, else the file of the host', async () => {
  const request = (timezone: string, runDir: string, rootFd: number) => ({
    containerId: 'c1',
    timezone,
    rootFd,
    runDir,
    readonlyRoot: true,
    owner: undefined,
  });
  const root = fresh('root');
  using fd = openRoot(root);
  const runDir = fresh('run');
  assert.equal(await prepareTimezone(request('', runDir, fd.fd)), undefined);
  if (existsSync('/usr/share/zoneinfo/Europe/Berlin')) {
    const mount = await prepareTimezone(request('Europe/Berlin', runDir, fd.fd));
    assert.deepEqual(mount?.options, ['ro', 'bind', 'nodev', 'nosuid', 'noexec']);
    assert.deepEqual(readFileSync(join(runDir, 'localtime')), readFileSync('/usr/share/zoneinfo/Europe/Berlin'));
    mkdirSync(join(root, 'usr/share/zoneinfo/Europe'), { recursive: true });
    writeFileSync(join(root, 'usr/share/zoneinfo/Europe/Berlin'), '');
    assert.equal(await prepareTimezone(request('Europe/Berlin', runDir, fd.fd)), undefined);
    assert.equal(readlinkSync(join(root, 'etc/localtime')), '../usr/share/zoneinfo/Europe/Berlin');
  }
  await assert.rejects(prepareTimezone(request('No/Where', runDir, fd.fd)), {
    message: /^failed to configure timezone for container c1: setting timezone for container c1: /,
  });
  await assert.rejects(prepareTimezone(request('../../../etc/passwd', runDir, fd.fd)), { message: /invalid timezone/ });
  assert.ok(lstatSync(root).isDirectory());
});
