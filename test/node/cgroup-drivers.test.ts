import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { after, afterEach, before, describe, test } from 'node:test';
import { CgroupDriver, NamespaceMode } from '../../src/wire/index.ts';
import { removeCgroups } from '../harness/cgroups.ts';
import { refused } from '../harness/expect.ts';
import { FAULTY, Faults } from '../harness/faults.ts';
import { BUSYBOX, TestNode, useNode } from '../harness/node.ts';
import { PodLife } from '../harness/pod-life.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { processesOf } from '../harness/processes.ts';
import { SystemdStandIn } from '../harness/systemd-stand-in.ts';

function withParent(node: TestNode, name: string, cgroupParent: string) {
  const config = podConfig(node.machine, name);
  return { ...config, linux: { ...config.linux, cgroupParent } };
}

describe('cgroupfs', () => {
  const node = useNode({
    images: ['busybox'],
    ...FAULTY,
    config: '[crio.runtime]\ninfra_ctr_cpuset = "0"\nshared_cpuset = "0"\n',
  });

  test('[p46] the kubelet is told the driver; a pod with a slice for its parent is refused, with both settings named', async () => {
    assert.equal((await node.client.RuntimeConfig()).linux?.cgroupDriver, CgroupDriver.CGROUPFS);
    const path = (await node.client.RunPodSandbox({ config: podConfig(node.machine, 'path') })).podSandboxId;
    await node.client.RemovePodSandbox({ podSandboxId: path });
    await refused(
      node.client.RunPodSandbox({ config: withParent(node, 'slice', '/kubepods.slice/kubepods-pod1.slice') }),
      'INVALID_ARGUMENT',
      /cri-o configured with cgroupfs cgroup manager, but received systemd slice as parent: \/kubepods\.slice\/kubepods-pod1\.slice.*same cgroup driver/s,
    );
  });

  test('[K48 K49 L22] a monitor is kept to infra_ctr_cpuset in a cgroup beside its container, which goes with the container', async () => {
    const config = podConfig(node.machine, 'cpus');
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT));
    const { monitor } = await processesOf(node, containerId);
    const read = async (path: string) => (await node.exec(['cat', path])).stdout.toString('utf8');
    assert.match(
      await read(`/proc/${monitor}/cgroup`),
      new RegExp(`:(cpuset)?:${config.linux?.cgroupParent}/crio-conmon-${containerId}$`, 'm'),
    );
    assert.match(await read(`/proc/${monitor}/status`), /^Cpus_allowed_list:\t0$/m);
    await node.client.StopContainer({ containerId, timeout: 20n });
    await node.client.RemoveContainer({ containerId });
    const left = await node.exec(['sh', '-c', `find /sys/fs/cgroup -name crio-conmon-${containerId}`]);
    assert.equal(left.stdout.toString('utf8'), '');
    await node.client.RemovePodSandbox({ podSandboxId });
  });

  test('[K49] a crash in the middle of a creation leaves no cgroup of a monitor', async () => {
    const faults = new Faults(node);
    const namespaceOptions = { pid: NamespaceMode.POD };
    const pod = (base: PodInput) => ({ ...base, linux: { ...base.linux, securityContext: { namespaceOptions } } });
    const life = new PodLife(node, 'crash', { runtimeHandler: 'runc', pod });
    for (const call of ['RunPodSandbox/infra container', 'CreateContainer']) {
      faults.arm('kill', `end ${call}/conmon and runtime create`);
      await assert.rejects(node.whileAlive(life.finish()));
      await node.ended('30 s of the point');
      assert.ok(faults.hit);
      await node.start();
    }
    await life.finish();
  });

  test('[D193] CPUs that a container shares stay in an updated set; a variable that names others adds none', async (t) => {
    if (availableParallelism() < 2) return t.skip('one CPU');
    for (const [shared, expected] of [
      ['0', '0-1'],
      ['0-1', '1'],
    ] as const) {
      const config = containerConfig('c', BUSYBOX, OBEDIENT, { envs: [{ key: 'OPENSHIFT_SHARED_CPUS', value: Buffer.from(shared) }] });
      const { podSandboxId, containerId } = await runPod(node.client, podConfig(node.machine, `shared-${shared}`), config);
      await node.client.UpdateContainerResources({ containerId, linux: { cpusetCpus: '1' } });
      const { init } = await processesOf(node, containerId);
      const status = (await node.exec(['cat', `/proc/${init}/status`])).stdout.toString('utf8');
      assert.equal(/^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1], expected);
      await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 4000 });
    }
  });
});

describe('systemd, as far as a stand-in for it on a real bus shows', () => {
  const node = new TestNode({ images: ['busybox'], config: '[crio.runtime]\ncgroup_manager = "systemd"\nconmon_cgroup = "pod"\n' });
  let standIn: SystemdStandIn;

  before(async () => {
    await node.boot();
    mkdirSync(node.path('/run/dbus'));
    standIn = new SystemdStandIn(node.path('/run/dbus'));
    await standIn.start();
    // runc itself would ask systemd for the container's scope; without that word the path is a plain cgroup's.
    node.write(
      '/etc/crio/runc-no-systemd',
      '#!/bin/sh\nfor word; do shift; [ "$word" = --systemd-cgroup ] || set -- "$@" "$word"; done\nexec /usr/sbin/runc "$@"\n',
    );
    node.write(
      '/etc/crio/crio.conf.d/60-runc.conf',
      '[crio.runtime.runtimes.runc]\nruntime_path = "/etc/crio/runc-no-systemd"\nruntime_root = "/run/runc"\n',
    );
    await node.registry();
    await node.start();
    await node.client.PullImage({ image: { image: BUSYBOX } });
    const { podSandboxId } = await node.client.RunPodSandbox({ config: withParent(node, 'first', 'criotest.slice') });
    await node.client.RemovePodSandbox({ podSandboxId });
    await node.remember();
  });
  afterEach(async () => assert.deepEqual(await node.leaks(), []));
  after(async () => {
    await node.end();
    await standIn.stop();
    await removeCgroups('/criotest.slice');
  });

  test('[p46] the kubelet is told the driver; a pod with a path for its parent is refused, with both settings named', async () => {
    assert.equal((await node.client.RuntimeConfig()).linux?.cgroupDriver, CgroupDriver.SYSTEMD);
    const slice = withParent(node, 'slice', '/criotest.slice/criotest-pod1.slice');
    const { podSandboxId } = await node.client.RunPodSandbox({ config: slice });
    await node.client.RemovePodSandbox({ podSandboxId });
    await refused(
      node.client.RunPodSandbox({ config: podConfig(node.machine, 'path') }),
      'INVALID_ARGUMENT',
      /cri-o configured with systemd cgroup manager, but did not receive slice as parent: .*same cgroup driver/s,
    );
  });

  test("[K33 K44 L19] a container's monitor is in a scope of its pod's slice before it begins", async () => {
    const before = standIn.units.length;
    const config = withParent(node, 'scope', '/criotest.slice/criotest-pod1.slice');
    // With no more than two CPU shares at the root of the hierarchy it would starve on a busy machine.
    const linux = { resources: {}, securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } };
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, OBEDIENT, { linux }));
    const [unit, ...more] = standIn.units.slice(before);
    assert.equal(more.length, 0);
    assert.equal(unit?.name, `crio-conmon-${containerId}.scope`);
    assert.equal(unit?.properties.get('Slice')?.value, 'criotest-pod1.slice');
    await node.client.StopContainer({ containerId, timeout: 20n });
    assert.equal((await stateOf(node.client, containerId)).exitCode, 0);
    await node.client.RemovePodSandbox({ podSandboxId });
  });

  test('[K37 K45 L21] a monitor that cannot be placed is killed before it begins, and the container is not created', async () => {
    const config = withParent(node, 'refused', 'criotest.slice');
    const { podSandboxId } = await node.client.RunPodSandbox({ config });
    standIn.behaviour = () => ({ error: 'Access denied' });
    await assert.rejects(
      node.client.CreateContainer({ podSandboxId, config: containerConfig('c', BUSYBOX, OBEDIENT), sandboxConfig: config }),
      /failed to add conmon to systemd sandbox cgroup: start transient unit "crio-conmon-[0-9a-f]{64}\.scope": Access denied/,
    );
    standIn.behaviour = () => ({});
    await node.client.RemovePodSandbox({ podSandboxId });
  });
});
