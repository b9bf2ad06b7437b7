import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseMountInfo } from '../../linux/index.ts';
import { silentLogger } from '../../log/index.ts';
import { UndoStack } from '../../sync/index.ts';
import { type Mount, MountPropagation } from '../spec/index.ts';
import { type MountRequest, resolveMounts } from './index.ts';
import { planPropagation } from './mounts.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-mounts-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const plain: Mount = {
  containerPath: '/data',
  hostPath: dir,
  readonly: false,
  selinuxRelabel: false,
  propagation: 0,
  uidMappings: [],
  gidMappings: [],
  recursiveReadOnly: false,
  imageSubPath: '',
};

function request(mounts: Partial<Mount>[], over: Partial<MountRequest> = {}): MountRequest {
  return {
    mounts: mounts.map((mount) => ({ ...plain, ...mount })),
    prefix: '',
    rejectedIfAbsent: [],
    storageRoot: '/var/lib/containers/storage',
    runtime: { idmapMounts: false, recursiveReadOnly: false, unsafeAnnotations: [] },
    makeMissing: true,
    resolveImage: () => assert.fail('no image asked for'),
    undo: new UndoStack(silentLogger),
    ...over,
  };
}

const one = async (mount: Partial<Mount>, over: Partial<MountRequest> = {}) => (await resolveMounts(request([mount], over))).binds[0];

test('[F75 a12] paths that are empty, or that no kernel takes', async () => {
  await assert.rejects(one({ containerPath: '' }), { message: 'mount.ContainerPath is empty' });
  await assert.rejects(one({ hostPath: '' }), { message: 'mount.HostPath is empty' });
  for (const path of [`/${'x'.repeat(70_000)}`, '/a\0b']) {
    await assert.rejects(one({ containerPath: path }), { kind: 'InvalidArgument' });
    await assert.rejects(one({ hostPath: path }), { kind: 'InvalidArgument' });
  }
});

test('[F64 F79] options, and parents before children', async () => {
  const { binds } = await resolveMounts(request([{ containerPath: '/a/b/c', readonly: true }, { containerPath: '/z' }]));
  assert.deepEqual(
    binds.map(({ destination, type, options }) => [destination, type, options]),
    [
      ['/z', 'bind', ['rbind', 'rprivate', 'rw', 'bind']],
      ['/a/b/c', 'bind', ['rbind', 'rprivate', 'ro', 'bind']],
    ],
  );
});

test('[F76] a link at the end is followed, inside the prefix', async () => {
  mkdirSync(join(dir, 'target'));
  symlinkSync(join(dir, 'target'), join(dir, 'link'));
  assert.equal((await one({ hostPath: join(dir, 'link') }))?.source, join(dir, 'target'));
  const prefix = join(dir, 'prefix');
  mkdirSync(join(prefix, 'inside'), { recursive: true });
  symlinkSync('/inside', join(prefix, 'link'));
  symlinkSync('../../../../../../inside', join(prefix, 'up'));
  assert.equal((await one({ hostPath: '/inside' }, { prefix }))?.source, join(prefix, 'inside'));
  assert.equal((await one({ hostPath: '/link' }, { prefix }))?.source, join(prefix, 'inside'));
  assert.equal((await one({ hostPath: '/up' }, { prefix }))?.source, join(prefix, 'inside'));
  symlinkSync('loop', join(dir, 'loop'));
  await assert.rejects(one({ hostPath: join(dir, 'loop') }), {
    message: new RegExp(`^failed to resolve symlink "${join(dir, 'loop')}": `),
  });
});

test('[F77] a missing source is made, through a dangling link too, and removed again by the undo', async () => {
  const undo = new UndoStack(silentLogger);
  await resolveMounts(request([{ hostPath: join(dir, 'new/deep') }], { undo }));
  symlinkSync(join(dir, 'dangling-target'), join(dir, 'dangling'));
  assert.equal((await one({ hostPath: join(dir, 'dangling') }, { undo }))?.source, join(dir, 'dangling-target'));
  assert.ok(existsSync(join(dir, 'new/deep')) && existsSync(join(dir, 'dangling-target')));
  await undo.run();
  assert.ok(!existsSync(join(dir, 'new')) && !existsSync(join(dir, 'dangling-target')) && existsSync(dir));
  await resolveMounts(request([{ hostPath: join(dir, 'restore') }], { makeMissing: false }));
  assert.ok(!existsSync(join(dir, 'restore')));
  writeFileSync(join(dir, 'file'), '');
  await assert.rejects(one({ hostPath: join(dir, 'file/below') }), { name: 'Failure' });
});

test('[F77] what somebody put into a directory that we made stays', async () => {
  const undo = new UndoStack(silentLogger);
  await resolveMounts(request([{ hostPath: join(dir, 'kept/deep') }], { undo }));
  writeFileSync(join(dir, 'kept/deep/data'), 'x');
  assert.deepEqual(await undo.run(), []);
  assert.ok(existsSync(join(dir, 'kept/deep/data')));
});

test('[F78] a missing source on the reject list', async () => {
  const path = join(dir, 'etc-hostname');
  await assert.rejects(one({ hostPath: path }, { rejectedIfAbsent: [path] }), {
    message: `cannot mount ${path}: path does not exist and will cause issues as a directory`,
  });
});

test('[F83 G97] recursive read-only', async () => {
  const rro = { recursiveReadOnly: true, readonly: true };
  const able = { runtime: { idmapMounts: false, recursiveReadOnly: true, unsafeAnnotations: [] } };
  assert.deepEqual((await one(rro, able))?.options, ['rbind', 'rprivate', 'rro', 'bind']);
  await assert.rejects(one(rro), { message: `recursive read-only mount support is not available for hostPath "${dir}"` });
  await assert.rejects(one({ ...rro, readonly: false }, able), {
    message: `recursive read-only mount conflicts with read-write mount for hostPath "${dir}"`,
  });
});

test('[F84 G94] id-mapped mounts', async () => {
  const map = [{ containerId: 0, hostId: 5, length: 10 }];
  await assert.rejects(one({ uidMappings: map, gidMappings: map }), {
    message: 'idmap mounts specified but OCI runtime does not support them. Perhaps the OCI runtime is too old',
  });
  const bind = await one(
    { uidMappings: map, gidMappings: map },
    { runtime: { idmapMounts: true, recursiveReadOnly: false, unsafeAnnotations: [] } },
  );
  assert.deepEqual(bind?.uidMappings, [{ containerID: 0, hostID: 5, size: 10 }]);
});

test('[F85 G56 a53] only what CRI asks for is relabelled', async () => {
  const relabelled: string[] = [];
  const relabel = async (path: string) => void relabelled.push(path);
  await resolveMounts(
    request(
      [
        { selinuxRelabel: true, hostPath: join(dir, 'yes') },
        { containerPath: '/n', hostPath: join(dir, 'no') },
      ],
      { relabel },
    ),
  );
  assert.deepEqual(relabelled, [join(dir, 'yes')]);
});

test('[F86] the root of the host on the root of the container only warns', async () => {
  const { warnings } = await resolveMounts(request([{ hostPath: '/', containerPath: '/' }]));
  assert.equal(warnings.length, 1);
});

test('[F88 F93] entries for status; images are read-only whatever is asked', async () => {
  const image = { image: 'quay.io/x', annotations: new Map(), userSpecifiedImage: '', runtimeHandler: '', imageRef: '' };
  const { volumes, images } = await resolveMounts(
    request([{ image, hostPath: '', readonly: false }], {
      resolveImage: async () => ({ mounts: [{ destination: '/data', type: 'overlay' }], id: 'abc', hostPath: '/img' }),
    }),
  );
  assert.deepEqual(images, [{ destination: '/data', type: 'overlay' }]);
  assert.deepEqual(volumes, [
    {
      container_path: '/data',
      host_path: '/img',
      readonly: true,
      recursive_read_only: false,
      propagation: 0,
      selinux_relabel: false,
      image: { image: 'abc' },
    },
  ]);
});

const TABLE = parseMountInfo(
  [
    '1 0 8:1 / / rw - ext4 /dev/a rw',
    '2 1 8:2 / /shared rw shared:1 - ext4 /dev/b rw',
    '3 1 8:3 / /slave rw master:1 - ext4 /dev/c rw',
    '4 2 8:4 / /shared/private rw - ext4 /dev/d rw',
    '5 1 8:5 / /data rw - ext4 /dev/e rw',
  ].join('\n'),
);
const propagation = (mode: number, source: string, warnings: string[] = []) => {
  const { option, rootfs } = planPropagation({ ...plain, propagation: mode }, source, '/shared/storage', TABLE, warnings);
  return [option, rootfs];
};

test('[F80, a51] propagation needs a source mount that propagates', () => {
  const { PRIVATE, HOST_TO_CONTAINER, BIDIRECTIONAL } = MountPropagation;
  assert.deepEqual(propagation(PRIVATE, '/data'), ['rprivate', undefined]);
  assert.deepEqual(propagation(HOST_TO_CONTAINER, '/shared/x'), ['rslave', 'rslave']);
  assert.deepEqual(propagation(HOST_TO_CONTAINER, '/slave'), ['rslave', 'rslave']);
  assert.deepEqual(propagation(BIDIRECTIONAL, '/shared'), ['rshared', 'rshared']);
  assert.throws(() => propagation(HOST_TO_CONTAINER, '/shared/private/x'), {
    message: 'path "/shared/private/x" is mounted on "/shared/private" but it is not a shared or slave mount',
  });
  assert.throws(() => propagation(BIDIRECTIONAL, '/slave'), {
    message: 'path "/slave" is mounted on "/slave" but it is not a shared mount',
  });
  assert.throws(() => planPropagation({ ...plain, propagation: BIDIRECTIONAL }, '/x', '/s', [], []), {
    message: 'could not find source mount of /x',
  });
  const warnings: string[] = [];
  assert.deepEqual(propagation(9, '/data', warnings), ['rprivate', undefined]);
  assert.equal(warnings.length, 1);
});

test('[F81] a private mount of what holds the store follows the host, where that can be followed', () => {
  assert.deepEqual(propagation(MountPropagation.PRIVATE, '/shared'), ['rslave', 'rslave']);
  assert.deepEqual(propagation(MountPropagation.PRIVATE, '/'), ['rprivate', undefined]);
  assert.deepEqual(propagation(MountPropagation.PRIVATE, '/shared/stor'), ['rprivate', undefined]);
});

test('[F82] the source mount is the longest, and names that only begin alike do not count', () => {
  assert.throws(() => propagation(MountPropagation.BIDIRECTIONAL, '/database'), { message: /mounted on "\/" but/ });
});
