import { test } from 'node:test';
import assert from 'node:assert/strict';
import { type ContainerSpecInput, type OciMount, buildContainerSpec, buildSandboxSpec } from './index.ts';
import { MountList, cleanPath, sortByDepth } from './mount-list.ts';
import {
  containerConfig,
  containerInput,
  hostFacts,
  podConfigWith,
  sandboxFacts,
  sandboxInput,
  securityContext,
  specSettings,
} from '../../../test/fixtures/spec-inputs.ts';

const bind = (destination: string, options = ['rbind', 'rprivate', 'rw', 'bind']): OciMount => ({
  destination,
  type: 'bind',
  source: `/src${destination}`,
  options,
});
const specOf = (over: Partial<ContainerSpecInput> = {}) => buildContainerSpec(containerInput(over)).spec;
const mountsOf = (over: Partial<ContainerSpecInput> = {}) => specOf(over).mounts;
const at = (mounts: readonly OciMount[], destination: string) => mounts.find((mount) => mount.destination === destination);
const places = (mounts: readonly OciMount[]) => mounts.map((mount) => mount.destination);
const cri = (...binds: OciMount[]) => ({ mounts: { binds, images: [], rootfsPropagation: undefined, volumes: [] } });

test('[F63 F64 F73 F96 F98] the whole order', () => {
  const mounts = mountsOf({
    mounts: { binds: [bind('/a/b/c'), bind('/z'), bind('/a')], images: [bind('/img')], rootfsPropagation: 'rslave', volumes: [] },
    userFiles: [bind('/etc/passwd')],
    volumes: [bind('/run/secrets'), bind('/v')],
    lateMounts: [bind('/etc/localtime')],
  });
  assert.deepEqual(places(mounts), [
    '/proc',
    '/dev',
    '/dev/pts',
    '/dev/mqueue',
    '/sys',
    '/img',
    '/sys/fs/cgroup',
    '/dev/shm',
    '/etc/resolv.conf',
    '/etc/hostname',
    '/run/.containerenv',
    '/etc/passwd',
    '/z',
    '/a',
    '/v',
    '/run/secrets',
    '/a/b/c',
    '/etc/localtime',
  ]);
});

test('[F65 L37] mounts of the request take the place of defaults, and of those below them', () => {
  assert.equal(at(mountsOf(cri(bind('/proc/'))), '/proc'), undefined);
  assert.deepEqual(
    places(mountsOf(cri(bind('/dev')))).filter((path) => path.startsWith('/dev')),
    ['/dev/shm', '/dev'],
  );
  assert.deepEqual(
    places(mountsOf(cri(bind('/sys')))).filter((path) => path.startsWith('/sys')),
    ['/sys'],
  );
});

test('[F68] the shm of the pod, unless the request mounts there', () => {
  assert.deepEqual(at(mountsOf(), '/dev/shm'), { destination: '/dev/shm', type: 'bind', source: '/run/s/shm', options: ['rw', 'bind'] });
  const own = mountsOf(cri(bind('/dev/shm')));
  assert.deepEqual([at(own, '/dev/shm')?.source, own.at(-1)?.destination], ['/src/dev/shm', '/dev/shm']);
});

test('[F66 L37 P13] cgroups are read-only; writable on v2 by annotation', () => {
  const sandbox = sandboxFacts({ annotations: new Map([['cgroup2-mount-hierarchy-rw.crio.io', 'true']]) });
  const options = (over: Partial<ContainerSpecInput>) => at(mountsOf(over), '/sys/fs/cgroup')?.options;
  assert.deepEqual(options({}), ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']);
  assert.deepEqual(options({ sandbox, host: hostFacts({ cgroupVersion: 2 }) }), ['nosuid', 'noexec', 'nodev', 'relatime', 'rw']);
  assert.deepEqual(options({ sandbox }), ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']);
});

test('[F67 G95] /sys with the network of the node, with and without a user namespace', () => {
  const maps = [{ containerId: 0, hostId: 100000, length: 65536 }];
  const sandbox = sandboxFacts({ hostNetwork: true });
  assert.deepEqual(at(mountsOf({ sandbox }), '/sys')?.options, ['nosuid', 'noexec', 'nodev', 'ro']);
  const user = { ...sandbox, idMappings: { uids: maps, gids: maps } };
  const runtime = { ...containerInput().runtime, mountOptions: new Set(['rro']) };
  assert.deepEqual(at(mountsOf({ sandbox: user, runtime }), '/sys'), {
    destination: '/sys',
    type: 'bind',
    source: '/sys',
    options: ['nosuid', 'noexec', 'nodev', 'rro', 'rbind'],
  });
  assert.deepEqual(at(mountsOf({ sandbox: user }), '/sys')?.options, ['nosuid', 'noexec', 'nodev', 'ro', 'rbind']);
});

test('[F69] files of the pod are read-only with a read-only root', () => {
  const config = containerConfig({ linux: { securityContext: securityContext({ readonlyRootfs: true }) } });
  const mounts = mountsOf({ config });
  assert.deepEqual(at(mounts, '/etc/resolv.conf')?.options, ['ro', 'bind', 'nodev', 'nosuid', 'noexec']);
  assert.deepEqual(at(mounts, '/etc/hostname')?.options, ['ro', 'bind']);
  assert.deepEqual(at(mounts, '/run/.containerenv')?.options, ['ro', 'bind']);
});

test('[F70] /etc/hosts of the node only with its network, and only if CRI gives none', () => {
  const sandbox = sandboxFacts({ hostNetwork: true });
  assert.equal(at(mountsOf(), '/etc/hosts'), undefined);
  assert.equal(at(mountsOf({ sandbox }), '/etc/hosts')?.source, '/etc/hosts');
  assert.equal(at(mountsOf({ sandbox, ...cri(bind('/etc/hosts')) }), '/etc/hosts')?.source, '/src/etc/hosts');
});

test('[F44 F45 G69] privileged: all present mounts writable, those of the request as they are', () => {
  const config = containerConfig({ linux: { securityContext: securityContext({ privileged: true, readonlyRootfs: true }) } });
  const mounts = mountsOf({
    config,
    sandbox: sandboxFacts({ privileged: true, hostNetwork: true }),
    ...cri(bind('/data', ['rbind', 'rprivate', 'ro', 'bind'])),
  });
  assert.deepEqual(at(mounts, '/sys')?.options, ['nosuid', 'noexec', 'nodev', 'rw', 'rslave']);
  assert.deepEqual(at(mounts, '/sys/fs/cgroup')?.options, ['nosuid', 'noexec', 'nodev', 'rw', 'relatime', 'rslave']);
  assert.deepEqual(at(mounts, '/etc/resolv.conf')?.options, ['bind', 'nodev', 'nosuid', 'noexec', 'rw']);
  assert.deepEqual(at(mounts, '/proc')?.options, ['nosuid', 'noexec', 'nodev', 'rw']);
  assert.deepEqual(at(mounts, '/data')?.options, ['rbind', 'rprivate', 'ro', 'bind']);
});

test('[F53] read_only of the configuration leaves three places to write', () => {
  const settings = specSettings({ readOnly: true });
  const mounts = mountsOf({ settings, ...cri(bind('/tmp')) });
  assert.deepEqual(at(mounts, '/run')?.options, ['rw', 'noexec', 'nosuid', 'nodev', 'tmpcopyup', 'mode=0755']);
  assert.deepEqual(at(mounts, '/var/tmp')?.options?.at(-1), 'mode=1777');
  assert.equal(at(mounts, '/tmp')?.type, 'bind');
  assert.equal(
    at(mountsOf({ config: containerConfig({ linux: { securityContext: securityContext({ readonlyRootfs: true }) } }) }), '/var/tmp'),
    undefined,
  );
});

test('[F71 L38 G75] what systemd expects, on v1 and v2', () => {
  const config = containerConfig({ command: ['/sbin/init'] });
  const v1 = specOf({ config });
  assert.deepEqual(at(v1.mounts, '/run/lock')?.options, ['rw', 'rprivate', 'noexec', 'nosuid', 'nodev', 'tmpcopyup']);
  assert.equal(at(v1.mounts, '/sys/fs/cgroup/systemd')?.source, '/sys/fs/cgroup/systemd');
  assert.deepEqual(v1.linux.maskedPaths, ['/sys/fs/cgroup/systemd/release_agent']);
  assert.ok(v1.process.env.includes('container=crio'));
  assert.equal(at(mountsOf({ config, ...cri(bind('/sys/fs')) }), '/sys/fs/cgroup/systemd'), undefined);
  const v2 = specOf({ config: containerConfig({ command: ['/usr/lib/systemd/systemd'] }), host: hostFacts({ cgroupVersion: 2 }) });
  assert.deepEqual(at(v2.mounts, '/sys/fs/cgroup')?.options, ['private', 'rw']);
  assert.equal(v2.linux.maskedPaths, undefined);
  assert.ok(!specOf().process.env.includes('container=crio'));
});

test('[F80] the propagation of the rootfs follows the mounts', () => {
  assert.equal(specOf({ mounts: { binds: [], images: [], volumes: [], rootfsPropagation: 'rshared' } }).linux.rootfsPropagation, 'rshared');
  assert.equal(specOf().linux.rootfsPropagation, undefined);
});

test('[G95] the infra container of a user namespace that shares the node', () => {
  const config = podConfigWith({}, { network: 2, pid: 2, ipc: 2 });
  const maps = [{ containerId: 0, hostId: 1, length: 1 }];
  const { mounts } = buildSandboxSpec(sandboxInput({ config, idMappings: { uids: maps, gids: maps } })).spec;
  assert.deepEqual(at(mounts, '/sys')?.options, ['nosuid', 'noexec', 'nodev', 'ro', 'rbind']);
  for (const path of ['/proc', '/dev/mqueue']) {
    const options = ['rw', 'rbind', 'nodev', 'nosuid', 'noexec'];
    assert.deepEqual(at(mounts, path), { destination: path, type: 'bind', source: path, options });
  }
});

test('[D90 G95] a container of such a pod is shown the same, unless it brings its own', () => {
  const maps = [{ containerId: 0, hostId: 100000, length: 65536 }];
  const facts = sandboxFacts();
  const sandbox = { ...facts, idMappings: { uids: maps, gids: maps }, namespaces: { ...facts.namespaces, ipc: undefined } };
  const host = containerInput().host;
  const config = containerConfig({
    linux: { securityContext: securityContext({ namespaceOptions: { network: 0, pid: 2, ipc: 2, targetId: '' } }) },
  });
  const types = (mounts: readonly OciMount[]) => ['/proc', '/dev/mqueue'].map((path) => at(mounts, path)?.type);
  assert.deepEqual(types(mountsOf({ config, sandbox })), ['bind', 'bind']);
  assert.deepEqual(types(mountsOf({ sandbox })), ['proc', 'bind']);
  assert.deepEqual(types(mountsOf({ config, sandbox, host: { ...host, mqueue: false } })), ['bind', undefined]);
  assert.deepEqual(types(mountsOf({ config, sandbox: { ...sandbox, idMappings: undefined } })), ['proc', 'mqueue']);
});

test('a list of mounts: the later one of a destination, at the end', () => {
  const list = new MountList([bind('/a'), bind('/b')]);
  list.add({ ...bind('/a'), source: '/new' });
  assert.deepEqual(
    list.toArray().map((mount) => mount.source),
    ['/src/b', '/new'],
  );
  assert.deepEqual(places(sortByDepth([bind('/x/y'), bind('/'), bind('/b'), bind('/a')])), ['/', '/b', '/a', '/x/y']);
  assert.deepEqual([cleanPath('/a//b/../c/'), cleanPath('/')], ['/a/c', '/']);
});
