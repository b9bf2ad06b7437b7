import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { unmountIfMounted } from '../../src/linux/index.ts';
import type { PodNetwork } from '../../src/network/index.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { type LabNode, NetworkLab, PLUGINS, bridge, configure, drop, port, sh, standIn, until } from '../harness/network.ts';

inPrivateNetwork(import.meta.filename);
const lab = new NetworkLab();
before(() => lab.open());
beforeEach(() => lab.begin());
afterEach(() => lab.end());
after(() => lab.close());

test('[H33] [H49] a chain: each plugin gets what the one before said, DEL goes the other way with the cached result', async () => {
  const of = lab.fakeNode({ plugins: [{ type: 'stand-in' }, { type: 'second', capabilities: { cgroupPath: true, portMappings: true } }] });
  const [first, second] = [standIn(of), standIn(of, 'second')];
  second.does('ADD', `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.99.0.9/24"}]}'; exit 0`);
  const network = await lab.ready(of);
  const mine = await lab.pod('web', { portMappings: [port(5050)] });
  assert.deepEqual((await network.attach(mine)).ips, ['10.99.0.9']);
  // The configuration changes under the pod: DEL goes by the cache.
  configure(of, { cniVersion: '1.0.0', name: 'changed', plugins: [{ type: 'stand-in' }] });
  await until('the changed configuration is loaded', () =>
    lab.lines.some((line) => line.includes('Updated default CNI network name to changed')),
  );
  await network.detach(mine);
  assert.deepEqual(
    first.calls().map((call) => call.split(' ')[0]),
    ['ADD', 'CHECK', 'DEL'],
  );
  assert.deepEqual(
    second.calls().map((call) => call.split(' ')[0]),
    ['ADD', 'CHECK', 'DEL'],
  );
  const input = (call: string | undefined) => JSON.parse(String(call).replace(/^\w+ \S* /, '')) as Record<string, unknown>;
  assert.deepEqual(input(second.calls()[0])['prevResult'], { cniVersion: '1.0.0', ips: [{ address: '10.99.0.5/24' }] });
  assert.deepEqual(input(second.calls()[0])['runtimeConfig'], { cgroupPath: '/kubepods/podu-1' });
  assert.deepEqual(input(first.calls()[2])['prevResult'], { cniVersion: '1.0.0', ips: [{ address: '10.99.0.9/24' }] });
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[H34] [H35] [D67] [D69] [p33] a plugin that fails, dies, or talks nonsense: its words, and DEL for what was done', async () => {
  const of = lab.fakeNode({ plugins: [{ type: 'stand-in' }, { type: 'second' }] });
  const [first, second] = [standIn(of), standIn(of, 'second')];
  const network = await lab.ready(of);
  for (const [does, says] of [
    [`echo '{"code":11,"msg":"no addresses","details":"range full"}'; exit 1`, 'no addresses; range full'],
    ['echo broken >&2; exit 2', 'netplugin failed: "broken\\n"'],
    ['kill -9 $$', 'netplugin failed with no error message: signal: killed'],
    ['echo half; exit 1', 'netplugin failed but error parsing its diagnostic message "half\\n": '],
    ['echo nonsense; exit 0', 'failed to unmarshal raw result: '],
  ] as const) {
    const mine = await lab.pod('web');
    second.does('ADD', does);
    const calls = first.calls().length;
    await assert.rejects(network.attach(mine), (error: Error) => {
      const text = `failed to create pod network sandbox k8s_web_default_u-1_0(${mine.id}): error adding pod default_web to CNI network "fake": plugin type="second" failed (add): ${says}`;
      assert.ok(error.message.startsWith(text), error.message);
      return true;
    });
    assert.deepEqual(
      first
        .calls()
        .slice(calls)
        .map((call) => call.split(' ')[0]),
      ['ADD', 'DEL'],
    );
    assert.deepEqual(lab.traces(of), []);
    drop(mine);
  }
});

test('[H36] [H47] [D67] [D102] a plugin that hangs is killed with its children when its time is over', async () => {
  const of = lab.fakeNode();
  standIn(of).does('ADD', 'sleep 987 & echo $! > "$DATA/child"; wait');
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await assert.rejects(network.attach(mine, { remainingMs: 500 - 5 * 60_000 }), {
    kind: 'DeadlineExceeded',
    message: /netplugin failed with no error message: signal: killed$/,
  });
  const child = readFileSync(join(of.root, 'child'), 'utf8').trim();
  await until(
    "the plugin's child is killed",
    () => !existsSync(`/proc/${child}`) || readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z '),
  );
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[H37] [p35] a plugin that hangs for one pod hinders neither other pods nor status', async () => {
  const of = lab.fakeNode();
  const plugin = standIn(of);
  plugin.does('ADD', 'case "$CNI_ARGS" in *NAME=slow*) while [ ! -e "$DATA/go" ]; do sleep 0.05; done;; esac');
  const network = await lab.ready(of);
  const [slow, quick] = [await lab.pod('slow'), await lab.pod('quick')];
  const hanging = network.attach(slow);
  await until('the plugin was called', () => plugin.calls().length === 1);
  await network.attach(quick);
  assert.deepEqual(network.status(), { ready: true });
  const again = network.detach(slow);
  assert.equal(plugin.calls().filter((call) => call.startsWith('DEL')).length, 0, 'operations of one pod wait for each other');
  writeFileSync(join(of.root, 'go'), '');
  await hanging;
  await again;
  await network.detach(quick);
  assert.deepEqual(lab.traces(of), []);
  drop(slow, quick);
});

test('[H38] CHECK follows ADD; its failure fails the pod; a list may do without', async () => {
  const of = lab.fakeNode();
  const plugin = standIn(of);
  plugin.does('CHECK', `echo '{"code":5,"msg":"gone"}'; exit 1`);
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await assert.rejects(network.attach(mine), {
    message: `failed to get network status for pod sandbox k8s_web_default_u-1_0(${mine.id}): error checking pod default_web for CNI network "fake": gone`,
  });
  assert.deepEqual(
    plugin.calls().map((call) => call.split(' ')[0]),
    ['ADD', 'CHECK', 'DEL'],
  );
  const deferred = await network.attach(mine, { deferCheck: true });
  await assert.rejects(deferred.check(), /gone$/);
  await network.detach(mine);
  const without = lab.fakeNode({ disableCheck: true });
  const silent = standIn(without);
  const other = await lab.ready(without);
  await other.attach(mine);
  await other.detach(mine);
  assert.deepEqual(
    silent.calls().map((call) => call.split(' ')[0]),
    ['ADD', 'DEL'],
  );
  drop(mine);
});

test('[H50] [D103] a namespace that has gone, or is none: DEL is tried with the cache, and its failure is no matter', async () => {
  const of = lab.fakeNode();
  const plugin = standIn(of);
  const network = await lab.ready(of);
  for (const make of [(path: string) => rmSync(path, { force: true }), (path: string) => writeFileSync(path, 'no namespace')]) {
    const mine = await lab.pod('web');
    await network.attach(mine);
    drop(mine);
    make(mine.netnsPath);
    plugin.does('DEL', 'exit 1');
    await network.detach(mine);
    assert.equal(plugin.calls().at(-1)?.split(' ')[0], 'DEL');
    assert.equal(existsSync(mine.netnsPath), false);
    assert.deepEqual(lab.traces(of), []);
    plugin.does('DEL', '');
  }
  const nowhere: PodNetwork = { ...(await lab.pod('nowhere')), netnsPath: undefined };
  await network.detach(nowhere);
  assert.match(plugin.calls().at(-1) ?? '', /^DEL {2}\{/);
});

test('[H51] [D104] DEL that fails in a living namespace fails once and takes pin and cache away; the next call succeeds', async () => {
  const of = lab.fakeNode();
  const plugin = standIn(of);
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await network.attach(mine);
  plugin.does('DEL', `echo '{"code":999,"msg":"stuck"}'; exit 1`);
  await assert.rejects(network.detach(mine), {
    message: `network teardown failed for pod sandbox k8s_web_default_u-1_0(${mine.id}): error removing pod default_web from CNI network "fake": plugin type="stand-in" failed (delete): stuck`,
  });
  assert.equal(existsSync(mine.netnsPath), false);
  assert.deepEqual(lab.traces(of), []);
  await network.detach(mine);
});

test('[H55] [H56] garbage: stale attachments get DEL, plugins of CNI 1.1 GC with the valid ones, their host ports close', async () => {
  const of = lab.fakeNode({ cniVersion: '1.1.0' });
  const plugin = standIn(of);
  const former = await lab.ready(of);
  const [gone, stays] = [await lab.pod('gone', { portMappings: [port(8080)] }), await lab.pod('stays', { portMappings: [port(9090)] })];
  await former.attach(gone);
  await former.attach(stays);
  const foreign = readFileSync(join(of.cacheDir, 'results', `fake-${gone.id}-eth0`), 'utf8').replaceAll(gone.id, 'a-container-of-podman');
  const foreignFile = join(of.cacheDir, 'results', 'fake-a-container-of-podman-eth0');
  writeFileSync(foreignFile, foreign.replaceAll('K8S_POD_INFRA_CONTAINER_ID', 'OTHER'));
  plugin.does('STATUS', `echo '{"code":50,"msg":"not yet"}'; [ -e "$DATA/up" ] || exit 1`);
  const later = await lab.service(of);
  await later.collectGarbage([stays]);
  await until('STATUS was answered', () => JSON.stringify(later.status()).includes('not yet'));
  assert.equal(plugin.calls().filter((call) => call.startsWith('GC')).length, 0, 'it waits for the first readiness');
  writeFileSync(join(of.root, 'up'), '');
  await later.whenReady(AbortSignal.timeout(3000));
  const collected = plugin.calls().filter((call) => /^(DEL|GC)/.test(call));
  assert.equal(collected.length, 2);
  assert.ok(collected[0]?.startsWith(`DEL ${gone.netnsPath} `));
  const valid = [{ containerID: stays.id, ifname: 'eth0' }];
  const input = JSON.parse(String(collected[1]).slice('GC  '.length)) as Record<string, unknown>;
  assert.deepEqual([input['cni.dev/valid-attachments'], input['cni.dev/attachments']], [valid, valid]);
  assert.ok(existsSync(foreignFile));
  rmSync(foreignFile);
  const table = sh('nft', 'list', 'table', 'ip', 'crio-hostports');
  assert.match(table, /tcp \. 9090/);
  assert.doesNotMatch(table, /tcp \. 8080/);
  await later.detach(stays);
  drop(gone, stays);
});

test('[H13] [H14] [H16] [H17] [H20] [D36] [D213] without a configuration pods wait; its arrival or the shutdown ends that', async () => {
  const of = lab.node({}, null);
  const network = await lab.service(of);
  const reason = `no CNI configuration file in ${of.networkDir}. Has your network provider started?`;
  await until('the reason is told', () => JSON.stringify(network.status()).includes(reason));
  const waiting = network.whenReady();
  const impatient = AbortSignal.timeout(50);
  await assert.rejects(network.whenReady(impatient), { name: 'TimeoutError' });
  configure(of, bridge());
  await waiting;
  assert.deepEqual(network.status(), { ready: true });

  const other = await lab.service(lab.node({}, null));
  const forEver = other.whenReady();
  await other.stop();
  await assert.rejects(forEver, /^Failure: server shutdown before CNI plugin was ready: /);
});

test('[H10] [H11] [p32] however a configuration is installed, the network is ready within a second', async () => {
  const text = JSON.stringify(bridge());
  const ways: Record<string, (of: LabNode) => void | Promise<void>> = {
    'written in place': (of) => writeFileSync(join(of.networkDir, 'a.conflist'), text),
    'renamed into place': (of) => {
      writeFileSync(join(of.root, 'new'), text);
      renameSync(join(of.root, 'new'), join(of.networkDir, 'a.conflist'));
    },
    'a symbolic link': (of) => {
      writeFileSync(join(of.root, 'target'), text);
      symlinkSync(join(of.root, 'target'), join(of.networkDir, 'a.conflist'));
    },
    'slowly, in pieces': async (of) => {
      for (const piece of [text.slice(0, 40), text.slice(40, 100), text.slice(100)]) {
        appendFileSync(join(of.networkDir, 'a.conflist'), piece);
        await delay(60);
      }
    },
    'beside a broken one': (of) => {
      writeFileSync(join(of.networkDir, '00-broken.conflist'), '{');
      writeFileSync(join(of.networkDir, '99-good.conflist'), text);
    },
    'the directory is removed and made again': async (of) => {
      rmSync(of.networkDir, { recursive: true });
      await delay(60);
      mkdirSync(of.networkDir);
      writeFileSync(join(of.networkDir, 'a.conflist'), text);
    },
    'the directory is exchanged': (of) => {
      mkdirSync(join(of.root, 'next'));
      writeFileSync(join(of.root, 'next/a.conflist'), text);
      renameSync(of.networkDir, join(of.root, 'old'));
      renameSync(join(of.root, 'next'), of.networkDir);
    },
    'the directory becomes a link': (of) => {
      mkdirSync(join(of.root, 'next'));
      writeFileSync(join(of.root, 'next/a.conflist'), text);
      rmSync(of.networkDir, { recursive: true });
      symlinkSync('next', of.networkDir.replace(/\/$/, ''));
    },
    'something is mounted over the directory': (of) => {
      mkdirSync(join(of.root, 'next'));
      writeFileSync(join(of.root, 'next/a.conflist'), text);
      sh('mount', '--bind', join(of.root, 'next'), of.networkDir);
    },
    'as .conf, one plugin': (of) => writeFileSync(join(of.networkDir, 'a.conf'), '{"cniVersion":"0.4.0","name":"one","type":"bridge"}'),
    'as .json, one plugin': (of) => writeFileSync(join(of.networkDir, 'a.json'), '{"cniVersion":"0.4.0","name":"one","type":"bridge"}'),
  };
  for (const [way, install] of Object.entries(ways)) {
    const of = lab.node({}, null);
    const network = await lab.service(of);
    await install(of);
    await assert.doesNotReject(network.whenReady(AbortSignal.timeout(1000)), way);
    await network.stop();
    unmountIfMounted(of.networkDir);
  }
});

test('[H6] [H11] a configuration becomes usable when its plugin arrives, even one still being copied', async () => {
  const of = { ...lab.node({}, { cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'bridge' }, { type: 'portmap' }] }) };
  const bin = join(of.root, 'bin');
  const network = await lab.service({ ...of, pluginDirs: [join(bin, 'later'), bin] });
  assert.match(network.rejectedFiles()[0]?.reason ?? '', /failed to find plugin "bridge" in path \[.*\]; failed to find plugin "portmap"/);
  copyFileSync(join(PLUGINS, 'bridge'), join(bin, 'bridge'));
  chmodSync(join(bin, 'bridge'), 0o644);
  copyFileSync(join(PLUGINS, 'portmap'), join(bin, 'later/portmap'));
  await until('the plugin was tried', () => lab.lines.some((line) => line.includes('EACCES')));
  chmodSync(join(bin, 'bridge'), 0o755);
  await network.whenReady(AbortSignal.timeout(2000));
});

test('[H4] [H5] [H7] the first valid file in byte order is the default and may change; a fixed name is waited for', async () => {
  const of = lab.fakeNode({ name: 'b' });
  standIn(of);
  writeFileSync(join(of.networkDir, '05-not.txt'), '{}');
  writeFileSync(join(of.networkDir, '07-empty.conflist'), '{"name":"none"}');
  mkdirSync(join(of.networkDir, '08-dir.conflist'));
  configure(of, { cniVersion: '1.0.0', name: 'c', plugins: [{ type: 'stand-in' }] }, '20.conflist');
  configure(of, { cniVersion: '1.0.0', name: 'b', plugins: [{ type: 'stand-in' }] }, '30.conflist');
  const network = await lab.ready(of);
  const said = (text: string) => lab.lines.some((line) => line.includes(text));
  assert.ok(said('Updated default CNI network name to b'));
  assert.ok(said(`Ignored CNI network b (type=stand-in) at ${join(of.networkDir, '30.conflist')} because already exists`));
  assert.ok(said('no plugin configs found'));
  configure(of, { cniVersion: '1.0.0', name: 'a', plugins: [{ type: 'stand-in' }] }, '00.conflist');
  await until('the new default is loaded', () => said('Updated default CNI network name to a'));
  const mine = await lab.pod('web');
  await network.attach(mine);
  assert.deepEqual(readdirSync(join(of.cacheDir, 'results')), [`a-${mine.id}-eth0`]);
  await network.detach(mine);

  const fixed = await lab.service({ ...of, defaultNetwork: 'wanted' });
  await until('the other service is not ready', () => !fixed.status().ready);
  configure(of, { cniVersion: '1.0.0', name: 'wanted', plugins: [{ type: 'stand-in' }] }, '99.conflist');
  await fixed.whenReady(AbortSignal.timeout(1000));
  drop(mine);
});

test('[H8] plugins from files beside the list are appended', async () => {
  const of = lab.fakeNode({ name: 'net', plugins: undefined });
  const [first, second] = [standIn(of), standIn(of, 'second')];
  mkdirSync(join(of.networkDir, 'net'));
  writeFileSync(join(of.networkDir, 'net/2.conf'), '{"type":"second"}');
  writeFileSync(join(of.networkDir, 'net/1.conf'), '{"type":"stand-in"}');
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await network.attach(mine);
  await network.detach(mine);
  assert.equal(first.calls().length, 3);
  assert.equal(second.calls().length, 3);
  drop(mine);
});

test('[H15] [D214] ready is for ever without a grace period; with one a lasting failure shows', async () => {
  const of = lab.node();
  const network = await lab.ready(of);
  const watchful = await lab.service({ ...of, statusGraceMs: 1 });
  await watchful.whenReady(AbortSignal.timeout(1000));
  rmSync(join(of.networkDir, '10-net.conflist'));
  await until('the lasting failure shows', () => !watchful.status().ready, 12_000);
  assert.deepEqual(network.status(), { ready: true });
  configure(of, bridge());
  await watchful.whenReady(AbortSignal.timeout(1000));
});

test('[a56] a plugin’s type is a name, not a path', async () => {
  const of = lab.fakeNode({ plugins: [{ type: '../../../../bin/true' }] });
  const network = await lab.service(of);
  assert.match(network.rejectedFiles()[0]?.reason ?? '', /^invalid plugin name: /);
});

test('[H32] [D71] bandwidth annotations reach the plugin that asks for them', async () => {
  const of = lab.fakeNode({ plugins: [{ type: 'stand-in', capabilities: { bandwidth: true } }] });
  const plugin = standIn(of);
  const network = await lab.ready(of);
  const mine = await lab.pod('web', { annotations: new Map([['kubernetes.io/ingress-bandwidth', '10M']]) });
  await network.attach(mine);
  assert.match(plugin.calls()[0] ?? '', /"bandwidth":\{"ingressRate":10000000,"ingressBurst":34359738359,"egressRate":0,"egressBurst":0\}/);
  await network.detach(mine);
  const wrong = { ...mine, annotations: new Map([['kubernetes.io/egress-bandwidth', 'much']]) };
  await assert.rejects(network.attach(wrong), /^Failure: failed to parse egress bandwidth: /);
  drop(mine);
});
