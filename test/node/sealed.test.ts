import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { ContainerState } from '../../src/wire/index.ts';
import { FAULTY, Faults } from '../harness/faults.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, containerConfig, podConfig, runPod, startPod, stateOf } from '../harness/pods.ts';
import { processesOf, soon } from '../harness/processes.ts';

const OWN = '/var/lib/own/runc';
const config = `[crio.runtime.runtimes.own]\nruntime_path = "${OWN}"\nruntime_root = "/run/own"\n`;
const node = useNode({ images: ['busybox'], ...FAULTY, files: { ...FAULTY.files, '/var/lib/own/x': '' }, config }, async () => {
  // The handler was dropped at the first start, when its binary was not there yet.
  await node.exec(['cp', '/usr/sbin/runc', OWN]);
  await node.restart();
});
const faults = new Faults(node);
const hashOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

/** The program of the runtime's command, looked at while that stands still. */
async function programAt(command: string, work: () => Promise<unknown>): Promise<{ readonly link: string; readonly hash: string }> {
  faults.arm('stop-helper', `helper ${command}`);
  const done = work();
  done.catch(() => {});
  const proc = node.machine.path('/proc');
  const stopped = () =>
    readdirSync(proc).find((pid) => /^\d+$/.test(pid) && /^\d+ \(.*\) T /s.test(readFileSync(`${proc}/${pid}/stat`, 'utf8')));
  await soon('it stands still', () => faults.hit && stopped() !== undefined);
  const pid = stopped() ?? assert.fail();
  const found = { link: readlinkSync(`${proc}/${pid}/exe`), hash: hashOf(`${proc}/${pid}/exe`) };
  await node.exec(['kill', '-CONT', pid]);
  await done;
  return found;
}

test('[a01] runtimes are executed from a sealed copy in memory, which follows the file', async () => {
  const { client, machine } = node;
  const sandboxConfig = podConfig(machine, 'sealed');
  const { podSandboxId } = await client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'own' });
  const start = async (name: string) => {
    const made = await client.CreateContainer({ podSandboxId, config: containerConfig(name, BUSYBOX, OBEDIENT), sandboxConfig });
    return await programAt('StartContainer/runc start', () => client.StartContainer(made));
  };
  const first = await start('first');
  assert.equal(first.link, `/memfd:${OWN} (deleted)`);
  assert.equal(first.hash, hashOf(node.path(OWN)));

  await node.exec(['sh', '-c', `cp ${OWN} ${OWN}.new && printf new >> ${OWN}.new && mv ${OWN}.new ${OWN}`]);
  const second = await start('second');
  assert.notEqual(second.hash, first.hash);
  assert.equal(second.hash, hashOf(node.path(OWN)));
  const copies = readdirSync(`/proc/${node.daemonPid}/fd`).filter((fd) =>
    readlinkSync(`/proc/${node.daemonPid}/fd/${fd}`).startsWith(`/memfd:${OWN}`),
  );
  assert.equal(copies.length, 2, 'the copy, and the one before it');
  await client.RemovePodSandbox({ podSandboxId });
});

test('a script in the place of a runtime is executed itself', async () => {
  await node.exec(['sh', '-c', `mv ${OWN} ${OWN}.real && printf '#!/bin/sh\\nexec ${OWN}.real "$@"\\n' > ${OWN} && chmod 755 ${OWN}`]);
  const { podSandboxId, containerId } = await startPod(
    node.client,
    podConfig(node.machine, 'script'),
    containerConfig('c', BUSYBOX, OBEDIENT),
    'own',
  );
  assert.equal((await stateOf(node.client, containerId)).state, ContainerState.CONTAINER_RUNNING);
  await node.client.RemovePodSandbox({ podSandboxId });
  await node.exec(['mv', `${OWN}.real`, OWN]);
});

test('[a01] a container that writes to whatever enters it changes no program of the host', async () => {
  const { client, machine } = node;
  const programs = ['/usr/sbin/runc', OWN, '/usr/bin/crun', '/usr/bin/conmon', process.execPath].map((path) => node.path(path));
  const before = programs.map(hashOf);
  // Every process that it sees but itself and its own children, as often as it can.
  const script = 'trap "exit 0" TERM; while :; do for exe in /proc/[2-9]*/exe; do echo hello 2>/dev/null > $exe; done; done';
  for (const handler of ['own', 'crun']) {
    const pod = await runPod(
      client,
      podConfig(machine, `attacker-${handler}`),
      containerConfig('c', BUSYBOX, ['sh', '-c', script]),
      handler,
    );
    for (let n = 0; n < 50; n++) {
      // The runtime's own program as the command: what the container opens through it is the copy.
      await client.ExecSync({ containerId: pod.containerId, cmd: ['/proc/self/exe', '--version'], timeout: 10n }).catch(() => {});
    }
    assert.ok((await processesOf(node, pod.containerId)).init > 1);
    await client.RemovePodSandbox({ podSandboxId: pod.podSandboxId });
  }
  assert.deepEqual(programs.map(hashOf), before);
});
