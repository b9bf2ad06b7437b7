/** Network providers as DaemonSets install them on a node whose daemon runs already. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { NamespaceMode } from '../../src/wire/index.ts';
import { refused } from '../harness/expect.ts';
import { FLANNEL_CONFLIST, FLANNEL_PLUGIN, subnetEnv } from '../harness/flannel.ts';
import { BUSYBOX, NETWORK_FILES, useNode } from '../harness/node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig, runPod } from '../harness/pods.ts';

const NET_D = '/etc/cni/net.d';
const BIN = '/var/lib/provider/bin';
const node = useNode({
  images: ['busybox'],
  withoutNetwork: true,
  config: `[crio.network]\nplugin_dirs = ["${BIN}", "/usr/lib/cni"]\ncni_status_grace_period = "1ms"\n`,
});

/** After the test the node has no provider any more, before anybody looks for what was left. */
function provided(body: () => Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await body();
    } finally {
      for (const dir of [NET_D, BIN])
        for (const file of readdirSync(node.path(dir))) rmSync(node.path(`${dir}/${file}`), { recursive: true, force: true });
      for (const dir of ['/run/flannel', '/run/provider', '/var/lib/cni/networks', '/var/lib/cni/flannel', '/var/lib/provider/deleted'])
        rmSync(node.path(dir), { recursive: true, force: true });
      await node.machine.exec(['ip', 'link', 'delete', 'cni0'], { mayFail: true });
      await untilNetwork(false);
    }
  };
}

function install(plugin: string, text: string): void {
  node.write(`${BIN}/.${plugin}`, text);
  renameSync(node.path(`${BIN}/.${plugin}`), node.path(`${BIN}/${plugin}`));
}

async function networkReady() {
  const { status } = await node.client.Status();
  const condition = status?.conditions.find(({ type }) => type === 'NetworkReady');
  assert.ok(condition);
  return condition;
}

/** The kubelet, too, asks again until the node is ready. */
async function untilNetwork(ready: boolean): Promise<void> {
  while ((await networkReady()).status !== ready) await delay(20);
}

async function addressOf(podSandboxId: string): Promise<string> {
  return (await node.client.PodSandboxStatus({ podSandboxId })).status?.network?.ip ?? '';
}

async function inside(containerId: string, script: string): Promise<string> {
  const { stdout } = await node.client.ExecSync({ containerId, cmd: ['sh', '-c', script], timeout: 20n });
  return Buffer.from(stdout).toString('utf8').trim();
}

const pod = (name: string, more: PodInput = {}) => podConfig(node.machine, name, more);

test(
  '[H13] [H16] [H17] [p32] flannel comes to a node that waits for it: its own pod on the host network first, then those that waited',
  provided(async () => {
    const condition = await networkReady();
    assert.equal(condition.status, false);
    assert.equal(condition.reason, 'NetworkPluginNotReady');
    assert.equal(
      condition.message,
      `Network plugin returns error: no CNI configuration file in ${NET_D}/. Has your network provider started?`,
    );

    const waiting = node.client.RunPodSandbox({ config: pod('waiting') });
    const config = pod('flannel');
    const namespaceOptions = { network: NamespaceMode.NODE, ipc: NamespaceMode.POD, pid: NamespaceMode.CONTAINER };
    const provider = await node.client.RunPodSandbox({
      config: { ...config, linux: { ...config.linux, securityContext: { namespaceOptions } } },
    });

    // The configuration arrives before the plugin, as it may.
    node.write(`${NET_D}/10-flannel.conflist`, FLANNEL_CONFLIST);
    while (!/flannel\.conflist: failed to find plugin "flannel"/.test((await networkReady()).message)) await delay(20);
    node.write('/run/flannel/subnet.env', subnetEnv('10.244.7.1/24'));
    install('flannel', FLANNEL_PLUGIN);
    const { podSandboxId } = await waiting;
    await untilNetwork(true);
    assert.match(await addressOf(podSandboxId), /^10\.244\.7\.\d+$/);
    for (const id of [podSandboxId, provider.podSandboxId]) await node.client.RemovePodSandbox({ podSandboxId: id });
  }),
);

test(
  '[H31] [H33] [H38] pods on flannel: its MTU, host ports by the daemon, and DEL by what the plugin kept after the lease changed',
  provided(async () => {
    install('flannel', FLANNEL_PLUGIN);
    node.write(`${NET_D}/10-flannel.conflist`, FLANNEL_CONFLIST);
    await untilNetwork(true);
    const lost = 'loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory';
    await refused(
      node.client.RunPodSandbox({ config: pod('early') }),
      'UNKNOWN',
      new RegExp(`plugin type="flannel" failed \\(add\\): ${lost}`),
    );
    node.write('/run/flannel/subnet.env', subnetEnv('10.244.7.1/24'));
    const serve = ['sh', '-c', 'trap "exit 0" TERM; echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp & wait'];
    const config = pod('web', { portMappings: [{ hostPort: 8080, containerPort: 80 }] });
    const { podSandboxId, containerId } = await runPod(node.client, config, containerConfig('c', BUSYBOX, serve));
    assert.match(await inside(containerId, 'cat /sys/class/net/eth0/mtu'), /^1450$/);
    const fetch = `until wget -q -O - http://127.0.0.1:8080/; do sleep 0.1; done`;
    const { stdout } = await node.machine.exec(['busybox', 'sh', '-c', fetch.replace('127.0.0.1', await hostAddress())]);
    assert.equal(stdout.toString('utf8'), 'hello\n');
    // A new lease; the daemon is another one, too.
    node.write('/run/flannel/subnet.env', subnetEnv('10.244.9.1/24'));
    await node.restart();
    await untilNetwork(true);
    await node.client.RemovePodSandbox({ podSandboxId });
    assert.deepEqual(readdirSync(node.path('/var/lib/cni/flannel')), []);
    assert.deepEqual(
      readdirSync(node.path('/var/lib/cni/networks/cbr0')).filter((name) => /^\d/.test(name)),
      [],
    );
  }),
);

/** The machine has no network but lo: its address towards the pods is the bridge's. */
async function hostAddress(): Promise<string> {
  const { stdout } = await node.machine.exec(['ip', '-4', '-br', 'addr', 'show', 'cni0']);
  return /(\d+\.\d+\.\d+\.\d+)\//.exec(stdout.toString('utf8'))?.[1] ?? '';
}

/** A plugin that works only while its agent on the node does, and says so in STATUS (CNI 1.1). */
const AGENT_PLUGIN = `#!/bin/sh
input=$(cat)
fail() { echo "{\\"cniVersion\\":\\"1.1.0\\",\\"code\\":50,\\"msg\\":\\"$1\\"}"; exit 1; }
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}' ;;
STATUS) [ -e /run/provider/nodename ] || fail 'stat /run/provider/nodename: no such file or directory: check that the agent is running' ;;
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.90.0.9/32"}]}' ;;
DEL) echo "$input" > /var/lib/provider/deleted ;;
esac
`;

test(
  '[H5] [H14] [H15] a provider with an agent: its other files in net.d are none of ours, and readiness follows STATUS',
  provided(async () => {
    install('agent', AGENT_PLUGIN);
    node.write(`${NET_D}/calico-kubeconfig`, 'apiVersion: v1\n');
    node.write(`${NET_D}/calico-tls/ca.conf`, '{');
    node.write(
      `${NET_D}/10-agent.conflist`,
      JSON.stringify({ cniVersion: '1.1.0', name: 'k8s-pod-network', plugins: [{ type: 'agent' }] }),
    );
    while (!(await networkReady()).message.includes('check that the agent is running')) await delay(20);
    assert.equal(
      (await networkReady()).message,
      'Network plugin returns error: stat /run/provider/nodename: no such file or directory: check that the agent is running',
    );
    node.write('/run/provider/nodename', 'node-1');
    await untilNetwork(true);
    const { podSandboxId } = await node.client.RunPodSandbox({ config: pod('web') });
    assert.equal(await addressOf(podSandboxId), '10.90.0.9');
    rmSync(node.path('/run/provider/nodename'));
    await untilNetwork(false);
    node.write('/run/provider/nodename', 'node-1');
    await untilNetwork(true);
    await node.client.RemovePodSandbox({ podSandboxId });
    assert.doesNotMatch(node.log(), /calico/);
  }),
);

test(
  '[H4] [H49] another provider takes the node over: it renames the files before it, and old pods leave by the network they came on',
  provided(async () => {
    const [file = '', text = ''] = Object.entries(NETWORK_FILES)[0] ?? [];
    node.write(file, text);
    await untilNetwork(true);
    const old = await runPod(node.client, pod('old'), containerConfig('c', BUSYBOX, OBEDIENT));
    install('agent', AGENT_PLUGIN);
    node.write('/run/provider/nodename', 'node-1');
    renameSync(node.path(file), node.path(`${file}.cilium_bak`));
    node.write(`${NET_D}/05-cilium.conflist`, JSON.stringify({ cniVersion: '1.1.0', name: 'cilium', plugins: [{ type: 'agent' }] }));
    while (!node.log().includes('Updated default CNI network name to cilium')) await delay(20);
    const { podSandboxId } = await node.client.RunPodSandbox({ config: pod('new') });
    assert.equal(await addressOf(podSandboxId), '10.90.0.9');
    await node.client.RemovePodSandbox({ podSandboxId: old.podSandboxId });
    assert.equal(existsSync(node.path('/var/lib/provider/deleted')), false);
    await node.client.RemovePodSandbox({ podSandboxId });
    assert.match(node.read('/var/lib/provider/deleted'), /"name":"cilium"/);
  }),
);
