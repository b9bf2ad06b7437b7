import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerState, NamespaceMode, SecurityProfile_ProfileType } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { type ContainerInput, OBEDIENT, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';

const PROFILE = JSON.stringify({
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
});
const handler = (name: string, more: string) => `[crio.runtime.runtimes.${name}]
runtime_path = "/usr/sbin/runc"
runtime_root = "/run/${name}"
${more}
`;
const node = useNode({
  images: ['busybox'],
  config: [
    handler('seccomp', 'seccomp_profile = "/etc/crio/no-mkdir.json"'),
    handler('privileged', 'privileged_without_host_devices = true'),
    handler('memory', 'container_min_memory = "64MiB"'),
    handler(
      'annotated',
      'default_annotations = { "org.example.tier" = "gold", "org.example.other" = "default" }\nallowed_annotations = ["shm-size.crio.io"]',
    ),
    handler('missing', '').replace('/usr/sbin/runc', '/usr/sbin/no-such-runtime'),
    handler('high-performance', 'exec_cpu_affinity = "first"'),
    handler('odd', 'exec_cpu_affinity = "last"'),
    '[crio.runtime.runtimes.hasty]\nruntime_path = "/etc/crio/runc-slow"\nruntime_root = "/run/hasty"\ncontainer_create_timeout = 5\n',
  ].join('\n'),
  files: { '/etc/crio/no-mkdir.json': PROFILE, '/etc/crio/runc-slow': '#!/bin/sh\nexec /usr/sbin/runc "$@"\n' },
});

async function run(name: string, more: ContainerInput = {}, annotations: ReadonlyMap<string, string> = new Map()) {
  const pod = podConfig(node.machine, name, { annotations: new Map(annotations) });
  return await runPod(node.client, pod, containerConfig('c', BUSYBOX, OBEDIENT, more), name);
}

async function exec(containerId: string, script: string): Promise<string> {
  const { stdout, stderr } = await node.client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 20n });
  return Buffer.concat([stdout, stderr].map((bytes) => Buffer.from(bytes))).toString('utf8');
}

const security = (more: object) => ({
  linux: { resources: {}, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER }, ...more } },
});
const runtimeDefault = security({ seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault, localhostRef: '' } });

test("[K16] seccomp_profile: the handler's stands for RuntimeDefault, other handlers have the node's", async () => {
  const own = await run('seccomp', runtimeDefault);
  const others = await run('memory', { ...runtimeDefault });
  assert.match(await exec(own.containerId, 'mkdir /tmp/x'), /Operation not permitted/);
  assert.equal(await exec(others.containerId, 'mkdir /tmp/x && echo made'), 'made\n');
  for (const { podSandboxId } of [own, others]) await node.client.RemovePodSandbox({ podSandboxId });
});

test('[K67] exec_cpu_affinity: the runtime is told the CPU that exec starts on', async () => {
  const resources = { cpuShares: 1024n, cpusetCpus: '0-1' };
  const { podSandboxId, containerId } = await run('high-performance', { linux: { ...security({}).linux, resources } });
  const bundle = `/run/containers/storage/overlay-containers/${containerId}/userdata/config.json`;
  const { process } = JSON.parse(node.read(bundle)) as { process: { execCPUAffinity?: unknown } };
  assert.deepEqual(process.execCPUAffinity, { initial: '0' });
  assert.equal(await exec(containerId, 'echo ran'), 'ran\n');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[K20] privileged_without_host_devices: a privileged container does not see the devices of the node', async () => {
  const made: string[] = [];
  const devices = async (name: string) => {
    const config = podConfig(node.machine, name);
    const pod = { ...config, linux: { ...config.linux, securityContext: { ...config.linux?.securityContext, privileged: true } } };
    const container = containerConfig('c', BUSYBOX, OBEDIENT, security({ privileged: true }));
    const { podSandboxId, containerId } = await runPod(node.client, pod, container, name);
    made.push(podSandboxId);
    return (await exec(containerId, 'ls /dev')).split('\n');
  };
  assert.ok((await devices('runc')).includes('loop-control'));
  assert.ok(!(await devices('privileged')).includes('loop-control'));
  for (const podSandboxId of made) await node.client.RemovePodSandbox({ podSandboxId });
});

test("[K11 K1] container_min_memory: a limit below the handler's is refused, with the key that can change it", async () => {
  const sandboxConfig = podConfig(node.machine, 'memory');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'memory' });
  const of = (bytes: bigint) =>
    containerConfig('c', BUSYBOX, OBEDIENT, { linux: { ...security({}).linux, resources: { memoryLimitInBytes: bytes } } });
  const least = 64n * 1024n * 1024n;
  await refused(
    node.client.CreateContainer({ podSandboxId, config: of(least - 1n), sandboxConfig }),
    'INVALID_ARGUMENT',
    /set memory limit 67108863 too low; should be at least 67108864 bytes.*container_min_memory/s,
  );
  await node.client.CreateContainer({ podSandboxId, config: of(least), sandboxConfig });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[K1] default_annotations are there unless the pod says otherwise; only allowed_annotations act', async () => {
  const shm = new Map([
    ['shm-size.crio.io', '1Mi'],
    ['org.example.other', 'mine'],
  ]);
  const allowed = await run('annotated', {}, shm);
  const { status } = await node.client.PodSandboxStatus({ podSandboxId: allowed.podSandboxId });
  assert.deepEqual([status?.annotations.get('org.example.tier'), status?.annotations.get('org.example.other')], ['gold', 'mine']);
  const size = "df -k /dev/shm | tail -1 | awk '{print $2}'";
  assert.equal((await exec(allowed.containerId, size)).trim(), '1024');
  const dropped = await run('memory', {}, shm);
  assert.equal((await exec(dropped.containerId, size)).trim(), '65536');
  for (const { podSandboxId } of [allowed, dropped]) await node.client.RemovePodSandbox({ podSandboxId });
});

test('[K1 K10 K15 D37] a handler that cannot be used was dropped with a warning; its name and those that exist are in the refusal', async () => {
  assert.match(node.log(), /Runtime handler \\"missing\\" is being ignored due to: invalid runtime_path for runtime 'missing'/);
  assert.match(node.log(), /Runtime handler \\"odd\\" is being ignored due to: invalid exec_cpu_affinity \\"last\\"/);
  for (const runtimeHandler of ['missing', 'odd', 'unheard-of']) {
    await refused(
      node.client.RunPodSandbox({ config: podConfig(node.machine, 'nowhere'), runtimeHandler }),
      'INVALID_ARGUMENT',
      new RegExp(`failed to find runtime handler ${runtimeHandler} from runtime list \\[.*runc.*seccomp.*\\]`),
    );
  }
});

test('[K12] container_create_timeout of less than half a minute is raised, and a handler with it works', async () => {
  assert.match(
    node.log(),
    /Runtime handler \\"hasty\\" container create timeout \(5 seconds\) is less than minimum \(30 seconds\), setting to minimum: 30 seconds/,
  );
  const { podSandboxId, containerId } = await run('hasty');
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  await node.client.RemovePodSandbox({ podSandboxId });
});
