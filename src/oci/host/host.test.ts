import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runOk } from '../../process/index.ts';
import { type DeviceRequest, hardLimits, parseDevice, readHostFacts, resolveDevices } from './index.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-host-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const resolve = (over: Partial<DeviceRequest>) =>
  resolveDevices({
    additional: [],
    annotation: undefined,
    allowed: [],
    privileged: false,
    withoutHostDevices: false,
    requested: [],
    ...over,
  });

test('[F102 G77 B55] device syntax', () => {
  assert.deepEqual(parseDevice('/dev/a'), { source: '/dev/a', destination: '/dev/a', permissions: 'rwm' });
  assert.deepEqual(parseDevice('/dev/a:rw'), { source: '/dev/a', destination: '/dev/a', permissions: 'rw' });
  assert.deepEqual(parseDevice('/dev/a:/dev/b'), { source: '/dev/a', destination: '/dev/b', permissions: 'rwm' });
  assert.deepEqual(parseDevice('/dev/a:/dev/b:m'), { source: '/dev/a', destination: '/dev/b', permissions: 'm' });
  for (const [text, message] of [
    ['', 'invalid device specification: '],
    ['a:b:c:d', 'invalid device specification: a:b:c:d'],
    ['/dev/a:/etc/b', 'invalid device mode: /etc/b'],
    ['/dev/a:rr', 'invalid device mode: rr'],
    ['/dev/a:/dev/b:x', 'invalid device mode: x'],
  ] as const)
    assert.throws(() => parseDevice(text), { message });
});

test('[F101 F102] configured devices first, those of the request later, the later of a path', async () => {
  const { devices, rules, allowAll } = await resolve({
    additional: ['/dev/null:/dev/x:r', ''],
    requested: [{ hostPath: '/dev/zero', containerPath: '/dev/x', permissions: 'rw' }],
  });
  assert.deepEqual(
    devices.map(({ path, type, major, minor }) => [path, type, major, minor]),
    [['/dev/x', 'c', 1, 5]],
  );
  assert.deepEqual(
    rules.map((rule) => [rule.major, rule.minor, rule.access]),
    [
      [1, 3, 'r'],
      [1, 5, 'rw'],
    ],
  );
  assert.equal(allowAll, false);
  await assert.rejects(resolve({ additional: ['/dev/none'] }), { message: '/dev/none is not a valid device: no such file or directory' });
  await assert.rejects(resolve({ additional: ['/etc'] }), { message: '/etc is not a valid device: not a device node' });
});

test('[F102 G78 G79 P14] devices of the annotation must be allowed, by host path', async () => {
  assert.equal((await resolve({ annotation: '/dev/null:/dev/y,,', allowed: ['/dev/null'] })).devices[0]?.path, '/dev/y');
  await assert.rejects(resolve({ annotation: '/dev/null', allowed: ['/dev/fuse'] }), {
    message: 'device /dev/null is specified but is not in allowed_devices',
  });
});

test('[F104 G80 K20] privileged: the nodes of the host, unless the handler says no', async () => {
  const all = await resolve({ privileged: true });
  const paths = all.devices.map((device) => device.path);
  assert.ok(paths.includes('/dev/null') && all.allowAll);
  assert.ok(!paths.some((path) => /^\/dev\/(pts|shm|fd|mqueue)\/|console$/.test(path)));
  assert.ok(all.devices.every((device) => device.major !== 0 || device.minor !== 0));
  assert.deepEqual(await resolve({ privileged: true, withoutHostDevices: true }), { devices: [], rules: [], allowAll: false });
});

test('[F105 G83] owner of the node, or of the container where configured; no mode', async () => {
  const path = join(dir, 'node');
  await runOk(['mknod', path, 'b', '4095', '1048575'], { timeoutMs: 5000 });
  symlinkSync(path, join(dir, 'link'));
  const requested = [{ hostPath: join(dir, 'link'), containerPath: '/dev/d', permissions: 'rwm' }];
  assert.deepEqual((await resolve({ requested })).devices, [{ path: '/dev/d', type: 'b', major: 4095, minor: 1048575, uid: 0, gid: 0 }]);
  const [own] = (await resolve({ requested, owner: { uid: 7, gid: 0 } })).devices;
  assert.deepEqual([own?.uid, own?.gid], [7, 0]);
});

test('[F106 F107 G82] directories add what is below; what is no device is left out silently', async () => {
  const tree = join(dir, 'tree');
  mkdirSync(join(tree, 'sub'), { recursive: true });
  await runOk(['mknod', join(tree, 'sub/n'), 'c', '1', '3'], { timeoutMs: 5000 });
  await runOk(['mknod', join(tree, 'whiteout'), 'c', '0', '0'], { timeoutMs: 5000 });
  await runOk(['mkfifo', join(tree, 'fifo')], { timeoutMs: 5000 });
  writeFileSync(join(tree, 'file'), '');
  const node = (hostPath: string) => ({ hostPath, containerPath: '/dev/t', permissions: 'r' });
  assert.deepEqual(
    (await resolve({ requested: [node(tree)] })).devices.map((device) => device.path),
    ['/dev/t/sub/n'],
  );
  for (const path of [join(tree, 'file'), join(tree, 'none'), join(tree, 'file/below')])
    assert.deepEqual((await resolve({ requested: [node(path)] })).devices, []);
});

test('[F108 G81] a privileged container cannot rename a node onto one of the host', async () => {
  const requested = [{ hostPath: '/dev/null', containerPath: '/dev/zero', permissions: 'r' }];
  await assert.rejects(resolve({ privileged: true, requested }), {
    message: 'privileged container was configured with a device container path that already exists on the host',
  });
});

test('facts of this node', () => {
  const facts = readHostFacts();
  assert.ok(facts.boundingSet.size > 0 && facts.capabilities.length >= 38);
  assert.ok((facts.rlimitCeilings.get('RLIMIT_NOFILE') ?? 0n) > 0n);
  assert.ok(facts.lowestOomScoreAdj >= -1000);
  const limits = hardLimits(
    'Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 20000                files     \nMax core file size        0                    unlimited            bytes     \n',
  );
  assert.deepEqual([...limits], [['RLIMIT_NOFILE', 20000n]]);
});
