import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { refused } from '../harness/expect.ts';
import { BUSYBOX, useNode } from '../harness/node.ts';
import { OBEDIENT, type ContainerInput, containerConfig, podConfig, runPod, stateOf } from '../harness/pods.ts';
import { exitedSoon, inspect, processesOf, signal } from '../harness/processes.ts';

/** Notes how it was called, then is the real one. Options stand before the command; `update` reads its resources from its input. */
const RECORDER = (real: string) => `#!/bin/sh
note=$(mktemp /etc/crio/recorded/${real.replaceAll('/', '_')}.XXXXXX)
{ pwd; cut -d' ' -f5,6 /proc/$$/stat; echo $$; for word; do printf '%s\\0' "$word"; done; echo; env; } > "$note"
case " $* " in
*' update '*) tee "$note.input" | ${real} "$@" ;;
*) exec ${real} "$@" ;;
esac
`;
const node = useNode({
  images: ['busybox'],
  config: `
[crio.runtime.runtimes.recorded]
runtime_path = "/etc/crio/runc-recorded"
monitor_path = "/etc/crio/conmon-recorded"
monitor_env = ["OF_THE_HANDLER=yes", "PATH=/nowhere"]
no_sync_log = true
[crio.runtime.runtimes.other]
runtime_path = "/etc/crio/other-recorded"
runtime_root = "/run/other"
[crio.runtime.runtimes.platform]
runtime_path = "/usr/sbin/runc"
runtime_root = "/run/platform"
platform_runtime_paths = { "linux/${process.arch === 'arm64' ? 'arm64' : 'amd64'}" = "/etc/crio/runc-recorded" }
`,
  files: {
    '/etc/crio/runc-recorded': RECORDER('/usr/sbin/runc'),
    '/etc/crio/other-recorded': RECORDER('/usr/sbin/runc'),
    '/etc/crio/conmon-recorded': RECORDER('/usr/bin/conmon'),
    '/etc/crio/recorded/none': '',
  },
});

interface Call {
  readonly cwd: string;
  readonly group: number;
  readonly session: number;
  readonly pid: number;
  readonly args: readonly string[];
  readonly env: ReadonlyMap<string, string>;
  readonly input: string;
}

/** What was called since the last look, in no order. */
async function calls(program: 'runc' | 'conmon'): Promise<Call[]> {
  const directory = node.path('/etc/crio/recorded');
  const found: Call[] = [];
  const names = readdirSync(directory).filter((name) => name.includes(program) && !name.endsWith('.input'));
  for (const name of names) {
    const [cwd = '', ids = '', pid = '', words = '', ...env] = readFileSync(join(directory, name), 'utf8').split('\n');
    const [group, session] = ids.split(' ').map(Number);
    const input = readdirSync(directory).includes(`${name}.input`) ? readFileSync(join(directory, `${name}.input`), 'utf8') : '';
    const variables = env
      .filter((line) => line.includes('='))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
    found.push({
      cwd,
      group: group ?? 0,
      session: session ?? 0,
      pid: Number(pid),
      args: words.split('\0').slice(0, -1),
      env: new Map(variables),
      input,
    });
  }
  await node.exec(['sh', '-c', `rm -f /etc/crio/recorded/*${program}*`]);
  return found;
}

/** The one call of that command. */
function call(all: readonly Call[], command: string): Call {
  const matching = all.filter(({ args }) => args.includes(command));
  assert.equal(matching.length, 1, `${matching.length} calls of ${command}: ${all.map(({ args }) => args.join(' ')).join('; ')}`);
  return matching[0] as Call;
}

async function create(handler: string, command: readonly string[], more: ContainerInput = {}) {
  const sandboxConfig = podConfig(node.machine, handler);
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: handler });
  const config = containerConfig('c', BUSYBOX, command, more);
  const { containerId } = await node.client.CreateContainer({ podSandboxId, config, sandboxConfig });
  return { podSandboxId, containerId, logPath: `${sandboxConfig.logDirectory}/c.log` };
}

function runDirectory(id: string): string {
  return `/run/containers/storage/overlay-containers/${id}/userdata`;
}

test("[K3 K50 K51 K53 K54 K55 K56 K58 K59 K63] runc's command lines, environment and input, from the pod's start to its removal", async () => {
  await calls('runc');
  const { podSandboxId, containerId } = await create('recorded', OBEDIENT);
  await node.client.StartContainer({ containerId });
  for (const verb of ['pause', 'unpause']) assert.equal((await inspect(node, `/${verb}/${containerId}`)).code, 200);
  await node.client.UpdateContainerResources({ containerId, linux: { cpuShares: 512n, cpusetCpus: '0' } });
  await node.client.ExecSync({ containerId, cmd: ['true'], timeout: 10n });
  for (let n = 0; n < 3; n++) await node.client.ContainerStatus({ containerId, verbose: true });
  await node.client.ListContainers();
  await node.client.StopContainer({ containerId, timeout: 2n });
  await node.client.RemovePodSandbox({ podSandboxId });
  const all = await calls('runc');
  assert.deepEqual(call(all, 'start').args, ['--root', '/run/crun', 'start', containerId]);
  assert.deepEqual(call(all, 'pause').args, ['--root', '/run/crun', 'pause', containerId]);
  assert.deepEqual(call(all, 'state').args, ['--root', '/run/crun', 'state', containerId], 'after the resume, to know where it is');
  assert.deepEqual(call(all, 'resume').args, ['--root', '/run/crun', 'resume', containerId]);
  assert.deepEqual(call(all, 'update').args, ['--root', '/run/crun', 'update', '--resources', '-', containerId]);
  assert.deepEqual(JSON.parse(call(all, 'update').input), { cpu: { shares: 512, cpus: '0' } });
  assert.deepEqual(call(all, 'delete').args, ['--root', '/run/crun', 'delete', '--force', containerId]);
  assert.deepEqual(
    all.map(({ args }) => args.find((word) => !word.startsWith('-') && word !== '/run/crun') ?? '').toSorted((a, b) => a.localeCompare(b)),
    ['create', 'delete', 'exec', 'pause', 'resume', 'start', 'state', 'update'],
    'each once: no ps, events or list, and no command for an infra container that was dropped',
  );
  assert.ok(all.every(({ args }) => !args.includes(podSandboxId)));
  const { env } = call(all, 'start');
  for (const name of ['PWD', 'SHLVL', '_', 'OLDPWD']) (env as Map<string, string>).delete(name); // The shell's own.
  assert.deepEqual(
    [...env.keys()].toSorted((a, b) => a.localeCompare(b)),
    ['CRI_O_EXTERNAL', 'OF_THE_HANDLER', 'PATH'],
  );
  assert.deepEqual([env.get('CRI_O_EXTERNAL'), env.get('OF_THE_HANDLER')], ['1', 'yes']);
  assert.match(env.get('PATH') ?? '', /\/usr\/bin/, "the daemon's PATH wins over the handler's");
});

test('[K31 K32 K33 K39 K40 K42] conmon: where it runs, with what, what it calls, and what it leaves', async () => {
  await calls('runc');
  await calls('conmon');
  const { podSandboxId, containerId, logPath } = await create('recorded', OBEDIENT);
  const directory = runDirectory(containerId);
  const [conmon] = await calls('conmon');
  assert.ok(conmon);
  assert.deepEqual([conmon.cwd, conmon.group], [directory, conmon.pid], 'the run directory; a process group of its own');
  assert.ok(conmon.args.includes('--no-sync-log'));
  assert.deepEqual(conmon.args.slice(conmon.args.indexOf('-l'), conmon.args.indexOf('-l') + 2), ['-l', logPath]);
  for (const name of ['PWD', 'SHLVL', '_', 'OLDPWD']) (conmon.env as Map<string, string>).delete(name);
  assert.deepEqual(
    [...conmon.env.keys()].toSorted((a, b) => a.localeCompare(b)),
    ['_OCI_STARTPIPE', '_OCI_SYNCPIPE', 'CRI_O_EXTERNAL', 'OF_THE_HANDLER', 'PATH'],
  );
  assert.deepEqual([conmon.env.get('_OCI_SYNCPIPE'), conmon.env.get('_OCI_STARTPIPE')], ['3', '4']);
  const created = call(await calls('runc'), 'create');
  assert.deepEqual(created.args, ['--root=/run/crun', 'create', '--bundle', directory, '--pid-file', `${directory}/pidfile`, containerId]);
  assert.deepEqual([created.env.get('OF_THE_HANDLER'), created.env.get('CRI_O_EXTERNAL')], ['yes', '1']);

  const { init, monitor } = await processesOf(node, containerId);
  const state = JSON.parse(node.read(`/var/lib/containers/storage/overlay-containers/${containerId}/userdata/state.json`)) as {
    initPid: number;
    initStartTime: string;
    containerMonitorProcess: { pid: number; startTime: string };
  };
  const startTime = async (pid: number) => (await node.exec(['cat', `/proc/${pid}/stat`])).stdout.toString().split(') ')[1]?.split(' ')[19];
  assert.deepEqual([state.initPid, state.initStartTime], [init, await startTime(init)]);
  assert.deepEqual(state.containerMonitorProcess, { pid: monitor, startTime: await startTime(monitor) });
  assert.equal(node.read(`${directory}/pidfile`), String(init));

  const kind = (name: string) => {
    const info = statSync(node.path(`${directory}/${name}`));
    return [info.isFIFO() ? 'fifo' : info.isSocket() ? 'socket' : 'file', (info.mode & 0o777).toString(8)];
  };
  assert.deepEqual([kind('ctl')[0], kind('winsz')[0], kind('attach')], ['fifo', 'fifo', ['socket', '700']]);
  await node.client.StartContainer({ containerId });
  await signal(node, 'KILL', init);
  await exitedSoon(node, containerId);
  assert.equal(node.read(`/var/lib/containers/storage/overlay-containers/${containerId}/userdata/exit`), '137');
  await node.client.RemovePodSandbox({ podSandboxId });
});

test("[K41] conmon passes SIGTERM on to the container's process, and goes on", async () => {
  const { podSandboxId, containerId } = await runPod(
    node.client,
    podConfig(node.machine, 'forward'),
    containerConfig('c', BUSYBOX, ['sh', '-c', 'trap "echo ending; exit 6" TERM; echo ready; while :; do sleep 0.1; done']),
    'recorded',
  );
  await node.client.ExecSync({
    containerId,
    cmd: ['sh', '-c', 'until grep -q "SigCgt:.*[4567cdef]...$" /proc/1/status; do sleep 0.05; done'],
    timeout: 20n,
  });
  const { monitor } = await processesOf(node, containerId);
  await signal(node, 'TERM', monitor);
  assert.equal((await exitedSoon(node, containerId)).exitCode, 6);
  await node.client.RemovePodSandbox({ podSandboxId });
});

test("[K34 K38] a container that cannot be created: the text is the runtime's or conmon's, `delete --force` and no log follow", async () => {
  const sandboxConfig = podConfig(node.machine, 'broken');
  const { podSandboxId } = await node.client.RunPodSandbox({ config: sandboxConfig, runtimeHandler: 'other' });
  await calls('runc');
  const broken = containerConfig('c', BUSYBOX, ['/no/such/program']);
  await assert.rejects(
    node.client.CreateContainer({ podSandboxId, config: broken, sandboxConfig }),
    /container create failed: .*no such file or directory/s,
  );
  const all = await calls('runc');
  assert.deepEqual(call(all, 'delete').args.slice(0, 4), ['--root', '/run/other', 'delete', '--force']);
  assert.equal((await node.exec(['test', '-e', `${sandboxConfig.logDirectory}/c.log`], { mayFail: true })).code, 1);
  // A directory in the log's place stops conmon before its fork.
  await node.exec(['mkdir', '-p', `${sandboxConfig.logDirectory}/d.log`]);
  const unlogged = containerConfig('d', BUSYBOX, OBEDIENT);
  await assert.rejects(
    node.client.CreateContainer({ podSandboxId, config: unlogged, sandboxConfig }),
    /conmon ended before it forked: .*Failed to open log file/,
  );
  await node.client.RemovePodSandbox({ podSandboxId });
});

test('[K52] another runtime is signalled by its command, by number and then KILL, and its infra container is kept', async () => {
  const deaf = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done'];
  const { podSandboxId, containerId } = await runPod(
    node.client,
    podConfig(node.machine, 'other'),
    containerConfig('c', BUSYBOX, deaf),
    'other',
  );
  await calls('runc');
  await node.client.StopContainer({ containerId, timeout: 1n });
  assert.equal((await stateOf(node.client, containerId)).exitCode, 137);
  await node.client.RemovePodSandbox({ podSandboxId });
  const kills = (await calls('runc')).filter(({ args }) => args.includes('kill')).map(({ args }) => args.slice(2));
  for (const expected of [
    [containerId, '15'],
    [containerId, 'KILL'],
    [podSandboxId, '15'],
  ])
    assert.ok(
      kills.some((args) => args.join(' ') === `kill ${expected.join(' ')}`),
      `kill ${expected.join(' ')}`,
    );
});

test('[K61 K62] what the runtime says is in the error, with its command line; a delete of what it does not know is success', async () => {
  const { podSandboxId, containerId } = await create('recorded', OBEDIENT);
  await node.exec(['runc', '--root', '/run/crun', 'delete', '--force', containerId]);
  await exitedSoon(node, containerId);
  await node.client.RemoveContainer({ containerId });
  const again = await create('recorded', OBEDIENT);
  await node.client.StartContainer({ containerId: again.containerId });
  await refused(
    node.client.UpdateContainerResources({ containerId: again.containerId, linux: { cpusetCpus: '4096' } }),
    'UNKNOWN',
    new RegExp(
      `^updating resources for container "${again.containerId}" failed: \`/etc/crio/runc-recorded --root /run/crun update --resources - ${again.containerId}\` failed: .*cpuset.*: exit status 1$`,
      's',
    ),
  );
  await node.client.RemovePodSandbox({ podSandboxId: again.podSandboxId }, { timeoutMs: 4000 });
  await node.client.RemovePodSandbox({ podSandboxId });
});

test("[K19] platform_runtime_paths: an image's platform has a binary of its own for create, exec and update, the other commands the handler's", async () => {
  const { podSandboxId, containerId } = await create('platform', OBEDIENT);
  await node.client.StartContainer({ containerId });
  for (const again of [false, true]) {
    if (again) await node.restart();
    await node.client.ExecSync({ containerId, cmd: ['true'], timeout: 10n });
    await node.client.UpdateContainerResources({ containerId, linux: { cpuShares: 512n } });
  }
  await node.client.RemovePodSandbox({ podSandboxId }, { timeoutMs: 4000 });
  const ofContainer = (await calls('runc')).filter(({ args }) => args.at(-1) === containerId);
  const verbs = ofContainer.map(({ args }) => args.find((word) => /^(create|start|state|kill|delete|exec|update)$/.test(word)) ?? '?');
  assert.deepEqual(
    verbs.toSorted((a, b) => a.localeCompare(b)),
    ['create', 'exec', 'exec', 'update', 'update'],
  );
});

test('[K96] the directories of exits and attach sockets are there', () => {
  for (const path of ['/run/crio/exits', '/run/crio']) assert.equal(statSync(node.path(path)).mode & 0o777, 0o755);
});
