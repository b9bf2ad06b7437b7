import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { only } from '../harness/expect.ts';
import { imageStorage } from '../harness/images.ts';
import { OBEDIENT, containerConfig, podConfig, startPod } from '../harness/pods.ts';
import { StandInRegistry } from '../harness/stand-in-registry.ts';
import { Vm, nodeFiles, xfsDisk } from '../harness/vm/index.ts';
import { NamespaceMode } from '../../src/wire/index.ts';

const LIMITS = `[crio]
storage_option = ["overlay.size=8m", "overlay.inodes=100"]
`;
const HOME = '/var/lib/containers/storage/overlay';

const vm = new Vm();
let registry: StandInRegistry;
let host: string;

before(async () => {
  if (Vm.unavailable !== undefined) return;
  registry = new StandInRegistry(await imageStorage(['busybox', 'pause']));
  await registry.start();
  host = registry.host.replace('127.0.0.1', vm.hostAddress);
  await xfsDisk(vm.disk);
  await vm.boot();
  await vm.exec(['mount', '-o', 'prjquota', '/dev/vdc', '/var/lib']);
  await vm.write(nodeFiles(host, LIMITS));
  await vm.startDaemon();
  await vm.client.PullImage({ image: { image: `${host}/busybox:latest` } }, { timeoutMs: 120_000 });
});
after(async () => {
  await vm.end();
  await registry?.stop();
});

test(
  '[J36] a container may write so much and so many files to its layer, whatever others did, and images are not limited',
  { skip: Vm.unavailable ?? false },
  async () => {
    const one = await run('one');
    assert.match(await told(one, 'df -P -k /'), /^overlay +8192 /m, 'it sees what it may use');
    assert.match(await told(one, 'dd if=/dev/zero of=/big bs=1M count=5 && echo fits'), /fits/);
    assert.match(await told(one, 'dd if=/dev/zero of=/bigger bs=1M count=5 || echo full'), /No space left on device\n.*full/s);
    const two = await run('two');
    assert.match(await told(two, 'dd if=/dev/zero of=/big bs=1M count=5 && echo fits'), /fits/, 'the other has its own');
    const files = 'mkdir /many && for n in $(seq 150); do touch /many/$n || break; done; ls /many | wc -l';
    const [, made = ''] = /^(\d+)$/m.exec(await told(two, files)) ?? [];
    assert.ok(Number(made) > 50 && Number(made) < 100, `${made} files`);

    // A removed one leaves its place, and nobody's is taken.
    await vm.client.RemovePodSandbox({ podSandboxId: one.podSandboxId }, { timeoutMs: 60_000 });
    const three = await run('three');
    assert.match(await told(three, 'dd if=/dev/zero of=/big bs=1M count=7 && echo fits'), /fits/);
    const projects = await layersProjects();
    assert.equal(new Set(projects).size, projects.length, `each layer has a project of its own: ${projects.join(' ')}`);
    assert.equal(projects.length, 4, 'two pods and two containers');
  },
);

async function run(name: string): Promise<{ podSandboxId: string; containerId: string }> {
  const linux = { cgroupParent: `${vm.cgroup}/${name}`, securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } };
  const image = `${host}/busybox:latest`;
  return await startPod(vm.client, podConfig(vm, name, { linux }), containerConfig(name, image, OBEDIENT), '');
}

/** What a shell in a container writes to both outputs. */
async function told({ containerId }: { containerId: string }, script: string): Promise<string> {
  const { stdout, stderr } = await vm.client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 60n }, { timeoutMs: 90_000 });
  return `${Buffer.from(stderr).toString('utf8')}${Buffer.from(stdout).toString('utf8')}`;
}

/** The projects of the layers that have one. */
async function layersProjects(): Promise<string[]> {
  const { stdout } = await vm.exec(['sh', '-c', `lsattr -pd ${HOME}/*`]);
  const lines = stdout.toString('utf8').trim().split('\n');
  const own = only(lines.filter((line) => line.endsWith('/l'))).trim();
  assert.match(own, /^0 /);
  return lines.map((line) => line.trim().split(' ')[0] ?? '').filter((project) => project !== '0');
}
