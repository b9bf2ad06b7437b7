import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ContainerState, MountPropagation, NamespaceMode, SecurityProfile_ProfileType } from '../../src/wire/index.ts';
import { cgroupsBelow } from '../harness/cgroups.ts';
import { only, refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import {
  type ContainerInput,
  OBEDIENT,
  type PodInput,
  containerConfig,
  podConfig,
  runPod,
  settled,
  stateOf,
  untilListening,
} from '../harness/pods.ts';

const node = useNode({ images: ['busybox'] });

/** Gives `work` a pod of its own, and removes it afterwards. */
async function inPod(
  name: string,
  work: (podSandboxId: string, sandboxConfig: PodInput) => Promise<void>,
  more: PodInput = {},
): Promise<void> {
  const config = podConfig(node.machine, name, more);
  const { podSandboxId } = await node.client.RunPodSandbox({ config });
  await work(podSandboxId, config);
  await node.client.StopPodSandbox({ podSandboxId });
  await node.client.RemovePodSandbox({ podSandboxId });
}

/** Runs a command as a container to its end; answers its status and its log's text without the line headers. */
async function runToEnd(name: string, command: readonly string[], more: ContainerInput = {}, pod: PodInput = {}) {
  const sandboxConfig = podConfig(node.machine, name, pod);
  const { podSandboxId, containerId } = await runPod(node.client, sandboxConfig, containerConfig('c', BUSYBOX, command, more));
  const status = await settled(node.client, containerId);
  const log = node.read(join(sandboxConfig.logDirectory ?? '', 'c.log'));
  const text = log.replaceAll(/^\S+ std(out|err) [FP] /gm, '');
  await node.client.RemovePodSandbox({ podSandboxId });
  return { status, log, text };
}

function security(context: NonNullable<NonNullable<ContainerInput['linux']>['securityContext']>): ContainerInput {
  return { linux: { resources: {}, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER }, ...context } } };
}

test('[D157 D158 D161] a container is created, runs, exits, and tells each in its status', async () => {
  await inPod('life', async (podSandboxId, sandboxConfig) => {
    const config = containerConfig('c', BUSYBOX, ['sh', '-c', 'exit 3'], {
      labels: new Map([['l', '1']]),
      annotations: new Map([['a', '2']]),
    });
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    const created = await stateOf(node.client, containerId);
    assert.equal(created.state, ContainerState.CONTAINER_CREATED);
    assert.deepEqual([created.startedAt, created.finishedAt, created.exitCode], [0n, 0n, 0]);
    await node.client.StartContainer({ containerId });
    const exited = await settled(node.client, containerId);
    assert.equal(exited.state, ContainerState.CONTAINER_EXITED);
    assert.equal(exited.exitCode, 3);
    assert.ok(created.createdAt <= exited.startedAt && exited.startedAt <= exited.finishedAt);
    assert.equal(exited.labels.get('l'), '1');
    assert.equal(exited.annotations.get('a'), '2');
    assert.equal(exited.logPath, join(sandboxConfig.logDirectory ?? '', 'c.log'));
    await node.client.RemoveContainer({ containerId });
    await refused(node.client.ContainerStatus({ containerId }), 'NOT_FOUND', /^could not find container/);
  });
});

test('[D159] success is Completed, another exit code is an Error', async () => {
  const success = (await runToEnd('success', ['true'])).status;
  assert.deepEqual([success.exitCode, success.reason], [0, 'Completed']);
  const failure = (await runToEnd('failure', ['sh', '-c', 'exit 42'])).status;
  assert.deepEqual([failure.exitCode, failure.reason], [42, 'Error']);
});

test('[D163 D169] death by a signal is 128 and the signal', async () => {
  await inPod('signalled', async (podSandboxId, sandboxConfig) => {
    const { containerId } = await node.client.CreateContainer({
      podSandboxId,
      config: containerConfig('c', BUSYBOX, OBEDIENT),
      sandboxConfig,
    });
    await node.client.StartContainer({ containerId });
    const { info } = await node.client.ContainerStatus({ containerId, verbose: true });
    const { pid, sandboxID } = JSON.parse(info.get('info') ?? '{}') as { pid: number; sandboxID: string };
    assert.equal(sandboxID, podSandboxId);
    await node.machine.exec(['kill', '-KILL', String(pid)]);
    assert.equal((await settled(node.client, containerId)).exitCode, 137);
  });
});

test('[D159 D170 F31] a container that takes more memory than allowed is OOMKilled', async () => {
  const linux = {
    resources: { memoryLimitInBytes: 20n * 1024n * 1024n },
    securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
  };
  const { status } = await runToEnd('oom', ['sh', '-c', 'tail /dev/zero'], { linux });
  assert.equal(status.reason, 'OOMKilled');
  assert.equal(status.exitCode, 137);
});

test('[F7 F9 F12 F16] command, arguments, environment and working directory come from the request, then from the image', async () => {
  const { text } = await runToEnd(
    'process',
    ['sh', '-c'],
    {
      args: ['pwd; echo $A-$HOSTNAME; echo $PATH'],
      envs: [{ key: 'A', value: Buffer.from('b c') }],
      workingDir: '/made/for/this',
    },
    { hostname: 'own-host' },
  );
  assert.deepEqual(text.split('\n').slice(0, 2), ['/made/for/this', 'b c-own-host']);
  assert.match(text.split('\n')[2] ?? '', /\/bin/);
});

test('[D139 D141 D147] a container that obeys its stop signal ends at once with its own exit code', async () => {
  await inPod('obeys', async (podSandboxId, sandboxConfig) => {
    const config = containerConfig('c', BUSYBOX, ['sh', '-c', 'trap "exit 7" TERM; echo ready; sleep 1000 & wait']);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await node.client.StartContainer({ containerId });
    await logged(join(sandboxConfig.logDirectory ?? '', 'c.log'), 'ready');
    const began = Date.now();
    await node.client.StopContainer({ containerId, timeout: 20n });
    assert.ok(Date.now() - began < 5000);
    assert.equal((await stateOf(node.client, containerId)).exitCode, 7);
  });
});

test('[D141 D142 D143] a container that ignores its stop signal is killed when its time is over', async () => {
  await inPod('ignores', async (podSandboxId, sandboxConfig) => {
    const config = containerConfig('c', BUSYBOX, ['sleep', '1000']);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await node.client.StartContainer({ containerId });
    const began = Date.now();
    await node.client.StopContainer({ containerId, timeout: 1n });
    assert.ok(Date.now() - began >= 1000);
    const status = await stateOf(node.client, containerId);
    assert.deepEqual([status.state, status.exitCode], [ContainerState.CONTAINER_EXITED, 137]);
    await node.client.StopContainer({ containerId, timeout: 1n });
  });
});

test('[D136 D151 D156 D131] unknown container ids', async () => {
  const containerId = 'e'.repeat(64);
  const missing = `could not find container "${containerId}": container with ID starting with ${containerId} not found: ID does not exist`;
  await node.client.StopContainer({ containerId });
  await node.client.RemoveContainer({ containerId });
  await refused(node.client.ContainerStatus({ containerId }), 'NOT_FOUND', missing);
  await refused(node.client.StartContainer({ containerId }), 'NOT_FOUND', missing);
  await refused(node.client.StopContainer(), 'NOT_FOUND', 'could not find container "": container ID should not be empty');
});

test('[D9 D132 p04] a running container is started again without effect, an ended one is not, and a pod is no container', async () => {
  await inPod('twice', async (podSandboxId, sandboxConfig) => {
    const config = containerConfig('c', BUSYBOX, OBEDIENT);
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await node.client.StartContainer({ containerId });
    await untilListening(node.client, containerId);
    const { startedAt } = await stateOf(node.client, containerId.slice(0, 16));
    await node.client.StartContainer({ containerId });
    assert.equal((await stateOf(node.client, containerId)).startedAt, startedAt);
    await node.client.StopContainer({ containerId, timeout: 10n });
    const again = node.client.StartContainer({ containerId });
    await refused(again, 'FAILED_PRECONDITION', `container ${containerId} is not in created state: stopped`);
    const asContainer = node.client.ContainerStatus({ containerId: podSandboxId });
    await refused(asContainer, 'NOT_FOUND', new RegExp(`^could not find container "${podSandboxId}": .* not found`));
  });
});

test('[D18 D124] a CreateContainer that is sent again answers the container that is there', async () => {
  await inPod('same', async (podSandboxId, sandboxConfig) => {
    const request = { podSandboxId, config: containerConfig('c', BUSYBOX, OBEDIENT), sandboxConfig };
    const { containerId } = await node.client.CreateContainer(request);
    assert.equal((await node.client.CreateContainer(request)).containerId, containerId);
  });
});

test('[E75 E76 E78] the log has a line for each line, with time, stream and tag, and others may not read it', async () => {
  const sandboxConfig = podConfig(node.machine, 'logs');
  const command = ['sh', '-c', 'echo one; echo two >&2; printf three'];
  const { podSandboxId, containerId } = await runPod(node.client, sandboxConfig, containerConfig('c', BUSYBOX, command));
  await settled(node.client, containerId);
  const file = join(sandboxConfig.logDirectory ?? '', 'c.log');
  const lines = node.read(file).trimEnd().split('\n');
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d /;
  for (const line of lines) assert.match(line, time);
  assert.deepEqual(
    lines.map((line) => line.replace(time, '')).toSorted((a, b) => a.localeCompare(b)),
    ['stderr F two', 'stdout F one', 'stdout P three'],
  );
  // Older conmon makes it 0600.
  assert.ok([0o640, 0o600].includes(statSync(node.path(file)).mode & 0o777));
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[D154] a removed container leaves its log to the kubelet', async () => {
  await inPod('log-stays', async (podSandboxId, sandboxConfig) => {
    const { containerId } = await node.client.CreateContainer({
      podSandboxId,
      config: containerConfig('c', BUSYBOX, ['echo', 'kept']),
      sandboxConfig,
    });
    await node.client.StartContainer({ containerId });
    await settled(node.client, containerId);
    await node.client.RemoveContainer({ containerId });
    assert.match(node.read(join(sandboxConfig.logDirectory ?? '', 'c.log')), /stdout F kept\n$/);
  });
});

test('[E79] output of a terminal is one stream with its carriage returns', async () => {
  const { log } = await runToEnd('tty', ['sh', '-c', 'echo out; echo err >&2; test -t 0 && echo tty'], { tty: true });
  assert.match(log, /stdout F out\r\n/);
  assert.match(log, /stdout F err\r\n/);
  assert.match(log, /stdout F tty\r\n/);
});

test('[D125] a privileged container needs a privileged pod', async () => {
  await inPod('plain', async (podSandboxId, sandboxConfig) => {
    const config = containerConfig('c', BUSYBOX, OBEDIENT, security({ privileged: true }));
    const create = node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    await refused(create, 'INVALID_ARGUMENT', /no privileged container allowed in sandbox$/);
  });
});

test('[F46 F47] capabilities are the default ones, with what is added and without what is dropped', async () => {
  const effective = async (name: string, capabilities?: { addCapabilities?: string[]; dropCapabilities?: string[] }) => {
    const { text } = await runToEnd(
      name,
      ['grep', 'CapEff', '/proc/self/status'],
      security(capabilities === undefined ? {} : { capabilities }),
    );
    return BigInt(`0x${text.trim().split('\t')[1] ?? ''}`);
  };
  const bits = (...numbers: number[]) => numbers.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
  // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE by their numbers in capabilities(7).
  const defaults = bits(0, 1, 3, 4, 5, 6, 7, 8, 10);
  assert.equal(await effective('caps'), defaults);
  assert.equal(
    await effective('caps-more', { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['CHOWN'] }),
    (defaults | bits(12)) & ~bits(0),
  );
  assert.equal(await effective('caps-none', { dropCapabilities: ['ALL'] }), 0n);
});

test('[F43 F44] a privileged container has what the node may give, and a writable /sys', async () => {
  const { text } = await runToEnd(
    'privileged',
    ['sh', '-c', 'grep -E "CapEff|Seccomp:" /proc/self/status; grep " /sys " /proc/mounts'],
    security({ privileged: true }),
    {
      linux: {
        cgroupParent: node.machine.cgroup,
        securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } },
      },
    },
  );
  const own = /CapEff:\t(\S+)/.exec(readFileSync(`/proc/${node.daemonPid}/status`, 'utf8'))?.[1];
  assert.match(text, new RegExp(`CapEff:\t${own ?? ''}`));
  assert.match(text, /Seccomp:\t0/);
  assert.match(text, / \/sys sysfs rw/);
});

test('[F49 F50 G1] a plain container runs under seccomp, with masked and read-only paths', async () => {
  const command = [
    'sh',
    '-c',
    'grep Seccomp: /proc/self/status; wc -c < /proc/keys; grep -c . /proc/timer_list; grep " /proc/sys " /proc/mounts',
  ];
  const { text } = await runToEnd(
    'masked',
    command,
    security({
      seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault },
      maskedPaths: ['/proc/keys'],
      readonlyPaths: ['/proc/sys'],
    }),
  );
  const [seccomp, keys, timers, sys] = text.split('\n');
  assert.equal(seccomp, 'Seccomp:\t2');
  assert.deepEqual([keys?.trim(), timers?.trim()], ['0', '0']);
  assert.match(sys ?? '', /^proc \/proc\/sys proc ro/);
});

test('[F20 F22 F23 F24] the user of a container is the one of the request, with its groups and a passwd line', async () => {
  const { text } = await runToEnd(
    'user',
    ['sh', '-c', 'id -u; id -g; id -G; tail -1 /etc/passwd'],
    security({ runAsUser: { value: 1234n }, runAsGroup: { value: 5678n }, supplementalGroups: [42n] }),
  );
  const [uid, gid, groups, passwd] = text.split('\n');
  assert.deepEqual([uid, gid], ['1234', '5678']);
  assert.deepEqual(
    groups?.split(' ').toSorted((a, b) => a.localeCompare(b)),
    ['42', '5678'],
  );
  assert.match(passwd ?? '', /^1234:x:1234:\d+:1234 user:\/:\/sbin\/nologin$/);
});

test('[F52] a read-only root cannot be written, mounts of the request can', async () => {
  mkdirSync(node.path('/var/log/volume'));
  const mounts = [{ hostPath: '/var/log/volume', containerPath: '/data' }];
  const { status, text } = await runToEnd('read-only', ['sh', '-c', 'touch /x; touch /data/x && echo written'], {
    mounts,
    ...security({ readonlyRootfs: true }),
  });
  assert.match(text, /Read-only file system/);
  assert.match(text, /written/);
  assert.equal(status.exitCode, 0);
  assert.ok(existsSync(node.path('/var/log/volume/x')));
});

test('[F77 F79 F80] binds: files are seen both ways, read-only ones refuse, missing sources become directories', async () => {
  mkdirSync(node.path('/var/log/bound'), { recursive: true });
  writeFileSync(node.path('/var/log/bound/file'), 'from the node');
  const mounts = [
    { hostPath: '/var/log/bound', containerPath: '/rw' },
    { hostPath: '/var/log/bound', containerPath: '/ro', readonly: true },
    { hostPath: '/var/log/absent', containerPath: '/made', propagation: MountPropagation.PROPAGATION_PRIVATE },
  ];
  const { text } = await runToEnd(
    'binds',
    ['sh', '-c', 'cat /ro/file; echo; echo back > /rw/answer; touch /ro/x || echo refused; ls -d /made'],
    { mounts },
  );
  assert.match(text, /^from the node$/m);
  assert.match(text, /^refused$/m);
  assert.match(text, /^\/made$/m);
  assert.equal(node.read('/var/log/bound/answer'), 'back\n');
  assert.ok(statSync(node.path('/var/log/absent')).isDirectory());
});

test('[D161 F88 F92 F93 I76 P90] Status tells mounts with resolved paths, image volumes by image id, which stay; a restart changes nothing', async () => {
  mkdirSync(node.path('/var/log/real'), { recursive: true });
  symlinkSync('real', node.path('/var/log/link'));
  await inPod('mounts', async (podSandboxId, sandboxConfig) => {
    const { image } = await node.client.ImageStatus({ image: { image: BUSYBOX } });
    const mounts = [
      { hostPath: '/var/log/link', containerPath: '/bound', readonly: true },
      { containerPath: '/volume', image: { image: BUSYBOX } },
      { containerPath: '/volume-etc', image: { image: BUSYBOX }, imageSubPath: 'etc' },
    ];
    const config = containerConfig('c', BUSYBOX, OBEDIENT, { mounts });
    const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
    const told = (await stateOf(node.client, containerId)).mounts;
    const [bound, volume] = told;
    assert.deepEqual([bound?.containerPath, bound?.hostPath, bound?.readonly, bound?.image], ['/bound', '/var/log/real', true, undefined]);
    assert.deepEqual([volume?.containerPath, volume?.readonly], ['/volume', true]);
    assert.match(volume?.hostPath ?? '', /\/overlay\//);
    assert.equal(volume?.image?.image, image?.id);
    assert.equal(volume?.image?.imageRef, image?.id);
    await node.restart();
    assert.deepEqual((await stateOf(node.client, containerId)).mounts, told);
    await refused(
      node.client.RemoveImage({ image: { image: BUSYBOX } }),
      'FAILED_PRECONDITION',
      new RegExp(`^the image is in use by ${containerId} `),
    );
  });
});

test('[F80] propagation that the source cannot give is refused', async () => {
  await inPod('propagation', async (podSandboxId, sandboxConfig) => {
    const mounts = [{ hostPath: '/var/log', containerPath: '/l', propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL }];
    const config = containerConfig('c', BUSYBOX, OBEDIENT, { mounts });
    await refused(
      node.client.CreateContainer({ podSandboxId, config, sandboxConfig }),
      'FAILED_PRECONDITION',
      /path "\/var\/log" is mounted on "\/var\/log" but it is not a shared mount/,
    );
  });
});

test('[F58 F68] containers of a pod share its network, its host name and its /dev/shm, but not their processes', async () => {
  await inPod('shared', async (podSandboxId, sandboxConfig) => {
    const start = async (name: string) => {
      const { containerId } = await node.client.CreateContainer({
        podSandboxId,
        config: containerConfig(name, BUSYBOX, OBEDIENT),
        sandboxConfig,
      });
      await node.client.StartContainer({ containerId });
      return containerId;
    };
    const [a, b] = [await start('a'), await start('b')];
    const exec = async (containerId: string, ...cmd: string[]) =>
      Buffer.from((await node.client.ExecSync({ containerId, cmd, timeout: 10n })).stdout).toString('utf8');
    await exec(a, 'sh', '-c', 'echo hello > /dev/shm/x');
    assert.equal(await exec(b, 'cat', '/dev/shm/x'), 'hello\n');
    for (const kind of ['net', 'ipc', 'uts'])
      assert.equal(await exec(a, 'readlink', `/proc/self/ns/${kind}`), await exec(b, 'readlink', `/proc/self/ns/${kind}`));
    assert.notEqual(await exec(a, 'readlink', '/proc/self/ns/pid'), await exec(b, 'readlink', '/proc/self/ns/pid'));
  });
});

test('[D164 D165 D117] containers are listed with their pods, newest first, and filtered', async () => {
  await inPod('listed', async (podSandboxId, sandboxConfig) => {
    const create = async (name: string) =>
      (
        await node.client.CreateContainer({
          podSandboxId,
          config: containerConfig(name, BUSYBOX, OBEDIENT, { labels: new Map([['n', name]]) }),
          sandboxConfig,
        })
      ).containerId;
    const [a, b] = [await create('a'), await create('b')];
    await node.client.StartContainer({ containerId: a });
    const list = async (request: Parameters<typeof node.client.ListContainers>[0]) =>
      (await node.client.ListContainers(request)).containers.map(({ id }) => id);
    assert.deepEqual(await list({}), [b, a]);
    assert.deepEqual(await list({ filter: { state: { state: ContainerState.CONTAINER_RUNNING } } }), [a]);
    assert.deepEqual(await list({ filter: { labelSelector: new Map([['n', 'b']]) } }), [b]);
    assert.deepEqual(await list({ filter: { podSandboxId: podSandboxId.slice(0, 12) } }), [b, a]);
    assert.deepEqual(await list({ filter: { podSandboxId: 'ffff' } }), []);
    const listed = only((await node.client.ListContainers({ filter: { id: a.slice(0, 20) } })).containers);
    assert.equal(listed.podSandboxId, podSandboxId);
    assert.equal(listed.image?.image, BUSYBOX);
  });
});

for (const handler of ['runc', 'crun']) {
  test(`[D37 F29 F37] ${handler}: a container stands in a cgroup below its pod's, with its limits`, async () => {
    const sandboxConfig = podConfig(node.machine, `limits-${handler}`);
    const resources = { cpuShares: 512n, cpuQuota: 50_000n, cpuPeriod: 100_000n, memoryLimitInBytes: 64n * 1024n * 1024n };
    const config = containerConfig('c', BUSYBOX, OBEDIENT, {
      linux: { resources, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
    });
    const { podSandboxId, containerId } = await runPod(node.client, sandboxConfig, config, handler);
    const groups = cgroupsBelow(node.machine.cgroup).filter((group) =>
      group.endsWith(`${sandboxConfig.linux?.cgroupParent ?? ''}/crio-${containerId}`),
    );
    const of = (controller: string, ...files: string[]) => {
      const group = groups.find((path) => path.startsWith(`${controller}:`)) ?? only(groups.filter((path) => path.startsWith(':')));
      const file = files.map((name) => join('/sys/fs/cgroup', group.replace(':', '/'), name)).find(existsSync);
      return readFileSync(file ?? '', 'utf8').trim();
    };
    assert.equal(of('memory', 'memory.limit_in_bytes', 'memory.max'), String(64 * 1024 * 1024));
    assert.match(of('cpu', 'cpu.cfs_quota_us', 'cpu.max'), /^50000( 100000)?$/);
    const status = await stateOf(node.client, containerId);
    assert.equal(status.resources?.linux?.memoryLimitInBytes, 64n * 1024n * 1024n);
    await node.client.StopPodSandbox({ podSandboxId });
    await node.client.RemovePodSandbox({ podSandboxId });
  });
}

test('[D124 D128 D130] a command that does not exist fails the create, names itself, and leaves nothing', async () => {
  await inPod('no-command', async (podSandboxId, sandboxConfig) => {
    const config = containerConfig('c', BUSYBOX, ['/no/such/command']);
    await refused(
      node.client.CreateContainer({ podSandboxId, config, sandboxConfig }),
      'UNKNOWN',
      /^container create failed: .*\/no\/such\/command/s,
    );
    assert.deepEqual((await node.client.ListContainers()).containers, []);
    assert.ok(!existsSync(node.path(join(sandboxConfig.logDirectory ?? '', 'c.log'))));
  });
});

test('[D119 D123 D126 F30] what a create lacks is named', async () => {
  await inPod('lacks', async (podSandboxId, sandboxConfig) => {
    const create = (config: ContainerInput | undefined, sandbox: PodInput | undefined = sandboxConfig) =>
      node.client.CreateContainer({ podSandboxId, config, sandboxConfig: sandbox });
    await refused(create(undefined), 'INVALID_ARGUMENT', 'config is nil');
    await refused(create({ metadata: { name: 'c' } }), 'INVALID_ARGUMENT', 'config image is nil');
    await refused(create({ image: {} }), 'INVALID_ARGUMENT', /metadata is nil$/);
    await refused(create({ image: { image: BUSYBOX }, metadata: {} }), 'INVALID_ARGUMENT', 'setting container config: name is empty');
    const tiny = { ...containerConfig('c', BUSYBOX, OBEDIENT), linux: { resources: { memoryLimitInBytes: 1024n } } };
    await refused(create(tiny), 'INVALID_ARGUMENT', /set memory limit 1024 too low; should be at least 12582912 bytes/);
  });
});

async function logged(file: string, text: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!existsSync(node.path(file)) || !node.read(file).includes(text)) {
    assert.ok(Date.now() < deadline, `${text} did not appear in ${file}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
