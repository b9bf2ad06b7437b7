import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { inPrivateNetwork } from '../harness/netns.ts';
import { HOST_IP, HOST_IP6, NetworkLab, ask, bridge, drop, inside, port, sh, silent, until } from '../harness/network.ts';
import { newerPlugins } from '../harness/newer-plugins.ts';

inPrivateNetwork(import.meta.filename);
const lab = new NetworkLab();
let plugins = '';
before(async () => {
  plugins = await newerPlugins();
  await lab.open();
});
beforeEach(() => lab.begin());
afterEach(() => lab.end());
after(() => lab.close());

/** The bridge network in CNI 1.1. */
function newer(more: readonly unknown[] = [], ranges = [['10.85.0.0/16']]): unknown {
  return { ...(bridge(more, ranges) as object), cniVersion: '1.1.0' };
}

test('[H14] [H33] [H56] the plugins of CNI 1.1: STATUS before, ADD and CHECK down a chain of four, DEL up, GC of what a pod left', async () => {
  const more = [
    { type: 'firewall', backend: 'iptables' },
    { type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } },
    { type: 'portmap', capabilities: { portMappings: true } },
  ];
  const of = lab.node({ pluginDirs: [plugins] }, newer(more));
  const network = await lab.ready(of);
  const [mine, gone] = [await lab.pod('mine', { portMappings: [port(8080)] }), await lab.pod('gone')];
  await network.attach(gone);
  const { ips } = await network.attach(mine);
  assert.equal(inside(mine.netnsPath, 'sysctl', '-n', 'net.core.somaxconn').trim(), '500');
  const cached = JSON.parse(readFileSync(join(of.cacheDir, 'results', `crio-bridge-${mine.id}-eth0`), 'utf8')) as {
    result: { cniVersion: string };
  };
  assert.equal(cached.result.cniVersion, '1.1.0');
  await lab.serve(mine.netnsPath, 80);
  assert.equal(ask(mine.netnsPath, HOST_IP, 8080), '10.85.0.1');
  drop(gone);
  await (await lab.ready(of)).collectGarbage([mine]);
  assert.deepEqual(
    lab.traces(of).filter((trace) => /^(crio-bridge\/\d|result)/.test(trace)),
    [`result crio-bridge-${mine.id}-eth0`, `crio-bridge/${ips[0]}`],
  );
  await network.detach(mine);
  drop(mine);
});

test('[H44] [H70] dual stack with the newer plugins: both families answer from outside, and to the pod itself', async () => {
  const of = lab.node({ pluginDirs: [plugins] }, newer([], [['10.85.0.0/16'], ['fd00:85::/64']]));
  const network = await lab.ready(of);
  const mine = await lab.pod('dual', { portMappings: [port(8080)] });
  assert.equal((await network.attach(mine)).ips.length, 2);
  await lab.serve(mine.netnsPath, 80);
  await until('IPv6 answers', () => !silent(lab.outside, HOST_IP6, 8080));
  assert.equal(ask(mine.netnsPath, HOST_IP6, 8080), 'fd00:85::1');
  assert.equal(ask(mine.netnsPath, HOST_IP, 8080), '10.85.0.1');
  await network.detach(mine);
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[H13] [H14] [H16] a real plugin’s STATUS keeps the network from being ready; its cause goes, the network comes', async () => {
  const of = lab.node({}, newer());
  const bin = join(of.root, 'bin');
  mkdirSync(bin);
  copyFileSync(join(plugins, 'bridge'), join(bin, 'bridge'));
  const network = await lab.service({ ...of, pluginDirs: [bin] });
  const reason = `failed to find plugin "host-local" in path [${bin}]`;
  await until('STATUS was asked', () => JSON.stringify(network.status()).includes('host-local'));
  assert.deepEqual(network.status(), { ready: false, reason });
  copyFileSync(join(plugins, 'host-local'), join(bin, 'host-local'));
  await network.whenReady(AbortSignal.timeout(15_000));
  const mine = await lab.pod('web');
  await network.attach(mine);
  await network.detach(mine);
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[H32] [D71] a bandwidth annotation limits the pod: the bandwidth plugin makes a shaper of it, and DEL takes it away', async () => {
  const of = lab.node({ pluginDirs: [plugins] }, newer([{ type: 'bandwidth', capabilities: { bandwidth: true } }]));
  const network = await lab.ready(of);
  const mine = await lab.pod('slow', { annotations: new Map([['kubernetes.io/ingress-bandwidth', '8M']]) });
  await network.attach(mine);
  assert.match(sh('tc', 'qdisc', 'show'), /qdisc tbf .* dev veth\w+ root .* rate 8Mbit/);
  await network.detach(mine);
  assert.doesNotMatch(sh('tc', 'qdisc', 'show'), /tbf/);
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});
