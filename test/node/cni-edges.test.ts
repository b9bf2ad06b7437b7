import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { MS, mount, unmountIfMounted } from '../../src/linux/index.ts';
import { inPrivateNetwork } from '../harness/netns.ts';
import { NetworkLab, PLUGINS, bridge, configure, drop, inside, sh, standIn, until } from '../harness/network.ts';

inPrivateNetwork(import.meta.filename);
const lab = new NetworkLab();
before(() => lab.open());
beforeEach(() => lab.begin());
afterEach(() => lab.end());
after(() => lab.close());

const names = (calls: readonly string[]) => calls.map((call) => call.split(' ')[0]);

test('[H2] [H28] plugins are looked for in the order of plugin_dirs: directories are passed over, the first file wins, executable or not', async () => {
  const of = lab.fakeNode();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(of.root, name)) as [string, string, string];
  mkdirSync(join(a, 'stand-in'), { recursive: true });
  const [first, second] = [standIn({ ...of, pluginDirs: [b] }), { ...of, pluginDirs: [a, b, c] }];
  mkdirSync(c);
  writeFileSync(join(c, 'stand-in'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  first.does('ADD', `echo "$CNI_PATH" > "$DATA/path"`);
  const network = await lab.ready(second);
  const mine = await lab.pod('web');
  await network.attach(mine);
  assert.equal(readFileSync(join(of.root, 'path'), 'utf8'), `${a}:${b}:${c}\n`);
  await network.detach(mine);
  chmodSync(join(b, 'stand-in'), 0o644);
  await assert.rejects(
    network.attach(mine),
    /plugin type="stand-in" failed \(add\): netplugin failed with no error message: fork\/exec .*\/b\/stand-in/,
  );
  drop(mine);
});

test('[H9] a list without cniVersion asks for 0.1.0; a plugin that does not speak the version, or is not there, rejects the file', async () => {
  const of = lab.node({}, null);
  configure(of, { name: 'old', plugins: [{ type: 'ancient' }] }, '30-old.conflist');
  configure(of, { name: 'new', plugins: [{ type: 'stand-in' }] }, '20-new.conflist');
  configure(of, { name: 'none', cniVersion: '1.0.0', plugins: [{ type: 'absent' }] }, '10-none.conflist');
  const bin = join(of.root, 'bin');
  standIn({ ...of, pluginDirs: [bin] });
  const ancient = `#!/bin/sh
input=$(cat)
[ "$CNI_COMMAND" = VERSION ] && echo "$input" > "$DATA/asked" && echo '{"code":1,"msg":"unknown CNI_COMMAND: VERSION"}' && exit 1
[ "$CNI_COMMAND" = ADD ] && echo '{"ip4":{"ip":"10.99.0.7/24"}}'
exit 0
`;
  writeFileSync(join(bin, 'ancient'), ancient, { mode: 0o755 });
  const network = await lab.ready({ ...of, pluginDirs: [bin] });
  assert.equal(readFileSync(join(of.root, 'asked'), 'utf8'), '{"cniVersion":"1.1.0"}\n');
  assert.deepEqual(
    network.rejectedFiles().map(({ reason }) => reason),
    [`failed to find plugin "absent" in path [${bin}]`, 'plugin stand-in does not support config version "0.1.0"'],
  );
  const mine = await lab.pod('web');
  assert.deepEqual((await network.attach(mine)).ips, ['10.99.0.7']);
  await network.detach(mine);
  drop(mine);
});

test('[H16] [p32] the reason of a network that is not ready names the files that cannot be used, and why', async () => {
  const of = lab.node({}, { cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'absent' }] });
  const network = await lab.service(of);
  const reason =
    `no CNI configuration file in ${of.networkDir}. Has your network provider started? ` +
    `(rejected: ${join(of.networkDir, '10-net.conflist')}: failed to find plugin "absent" in path [${PLUGINS}])`;
  await until('the reason is told', () => JSON.stringify(network.status()) === JSON.stringify({ ready: false, reason }));
});

test('[H38] CHECK asks all plugins of the chain at once; the first that fails is the error', async () => {
  const of = lab.fakeNode({ plugins: [{ type: 'stand-in' }, { type: 'second' }, { type: 'third' }] });
  const [first, second, third] = [standIn(of), standIn(of, 'second'), standIn(of, 'third')];
  const meets = (me: string, other: string) => `touch "$DATA/${me}"; until [ -e "$DATA/${other}" ]; do sleep 0.01; done`;
  first.does('CHECK', meets('one', 'two'));
  second.does('CHECK', `${meets('two', 'one')}; echo '{"code":5,"msg":"second"}'; exit 1`);
  third.does('CHECK', `echo '{"code":5,"msg":"third"}'; exit 1`);
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await assert.rejects(network.attach(mine), /error checking pod default_web for CNI network "fake": second$/);
  for (const plugin of [first, second, third]) assert.deepEqual(names(plugin.calls()), ['ADD', 'CHECK', 'DEL']);
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[H36] [D67] a plugin whose time is over is killed with what it started in sessions of their own, and nothing else of that pod', async () => {
  const of = lab.fakeNode({ plugins: [{ type: 'stand-in' }, { type: 'second' }] });
  const [first, second] = [standIn(of), standIn(of, 'second')];
  const leave = (file: string) =>
    `setsid sleep 986 > /dev/null 2>&1 & while [ -z "$(pgrep -f 'sleep 986' -n)" ]; do sleep 0.01; done; echo $! > "$DATA/${file}"`;
  first.does('ADD', leave('server'));
  second.does('ADD', `${leave('stray')}; sleep 985`);
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  const pid = (file: string) => Number(readFileSync(join(of.root, file), 'utf8'));
  const lives = (file: string) => existsSync(`/proc/${pid(file)}`) && !readFileSync(`/proc/${pid(file)}/stat`, 'utf8').includes(') Z ');
  await assert.rejects(network.attach(mine, { remainingMs: 3000 - 5 * 60_000 }), { kind: 'DeadlineExceeded' });
  await until('what the plugin started has ended', () => !lives('stray'));
  assert.ok(lives('server'), 'what another plugin left on purpose goes on');
  process.kill(pid('server'), 'SIGKILL');
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[p34] a pin that leads to a stranger’s namespace: DEL gets none, the address is given back, the stranger keeps its link', async () => {
  const of = lab.node();
  const network = await lab.ready(of);
  const [mine, stranger] = [await lab.pod('mine'), await lab.pod('stranger')];
  await network.attach(mine);
  const { ips } = await network.attach(stranger);
  const strangers = lab.traces(of).filter((trace) => trace.includes(ips[0] ?? '?'));
  unmountIfMounted(mine.netnsPath);
  mount(stranger.netnsPath, mine.netnsPath, 'none', MS.BIND);
  await assert.rejects((await lab.ready(of)).ipsOf(mine), /failed to get network status for pod sandbox/);
  await network.detach(mine);
  assert.ok(lab.lines.some((line) => line.includes(`Network namespace ${mine.netnsPath} is not the one in which pod sandbox`)));
  assert.match(inside(stranger.netnsPath, 'ip', '-4', 'addr', 'show', 'eth0'), new RegExp(`inet ${ips[0]}/`));
  const left = lab.traces(of);
  for (const trace of strangers) assert.ok(left.includes(trace), trace);
  assert.deepEqual(
    left.filter((trace) => /^crio-bridge\/\d/.test(trace)),
    [`crio-bridge/${ips[0]}`],
  );
  assert.deepEqual(readdirSync(join(of.cacheDir, 'results')), [`crio-bridge-${stranger.id}-eth0`]);
  await network.detach(stranger);
  sh('nft', 'flush', 'ruleset'); // Without a namespace Debian 12's bridge plugin leaves its masquerading rule.
  drop(mine, stranger);
  assert.deepEqual(lab.traces(of), []);
});

test('[p34] garbage collection leaves a namespace alone that is known by a process’ number only', async () => {
  const of = lab.fakeNode();
  const plugin = standIn(of);
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await network.attach(mine);
  const file = join(of.cacheDir, 'results', `fake-${mine.id}-eth0`);
  const { netnsId: _, ...old } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  writeFileSync(file, JSON.stringify({ ...old, netns: `/proc/${process.pid}/ns/net` }));
  await network.collectGarbage([]);
  assert.match(plugin.calls().at(-1) ?? '', /^DEL {2}\{/);
  assert.equal(existsSync(file), false);
  drop(mine);
});

test('[H49] [H50] [D103] after a reboot: no namespace, no configuration; DEL gives the address back by what the cache knows', async () => {
  const of = lab.node();
  const mine = await lab.pod('web');
  const former = await lab.ready(of);
  await former.attach(mine);
  await former.stop();
  drop(mine);
  sh('nft', 'flush', 'ruleset'); // Rules, links and the pins on a tmpfs are gone with the kernel that had them.
  rmSync(join(of.networkDir, '10-net.conflist'));
  const later = await lab.service(of);
  await later.detach(mine);
  assert.deepEqual(lab.traces(of), []);
  await later.detach(mine).catch((error: unknown) => assert.fail(`a second time: ${String(error)}`));
});

test('[H4] [H5] a single .conf beside lists: the first in order is the default, and the next takes over when it goes', async () => {
  const of = lab.node({ statusGraceMs: 1 }, null);
  configure(of, bridge(), '20-list.conflist');
  const single = { cniVersion: '0.4.0', name: 'one', type: 'ptp', ipMasq: false };
  configure(of, { ...single, ipam: { type: 'host-local', dataDir: '$ROOT/networks', subnet: '10.86.0.0/24' } }, '10-one.conf');
  const network = await lab.ready(of);
  const [first, second] = [await lab.pod('first'), await lab.pod('second')];
  assert.match((await network.attach(first)).ips[0] ?? '', /^10\.86\.0\./);
  rmSync(join(of.networkDir, '10-one.conf'));
  await until('the next configuration is the default', () =>
    lab.lines.some((line) => line.includes('Updated default CNI network name to crio-bridge')),
  );
  assert.match((await network.attach(second)).ips[0] ?? '', /^10\.85\.0\./);
  await network.detach(first);
  await network.detach(second);
  assert.deepEqual(lab.traces(of), []);
  drop(first, second);
});

test('[H33] [H49] the CNI project’s plugins are started while the one before works, and get their input at their turn or are killed', async () => {
  const of = lab.fakeNode({ plugins: [{ type: 'stand-in' }, { type: 'portmap' }, { type: 'third' }] });
  const [first, second, third] = [standIn(of), standIn(of, 'portmap'), standIn(of, 'third')];
  // The stand-in for portmap tells that it waits before it reads; the others see it, or time runs out.
  const plugin = join(of.root, 'bin/portmap');
  writeFileSync(plugin, readFileSync(plugin, 'utf8').replace('input=', 'touch "$DATA/waits.$CNI_COMMAND"; echo $$ > "$DATA/pid"; input='), {
    mode: 0o755,
  });
  const meets = 'until [ -e "$DATA/waits.$CNI_COMMAND" ]; do sleep 0.01; done';
  first.does('ADD', meets);
  third.does('DEL', meets);
  const network = await lab.ready(of);
  const mine = await lab.pod('web');
  await network.attach(mine);
  await network.detach(mine);
  for (const one of [first, second, third]) assert.deepEqual(names(one.calls()), ['ADD', 'CHECK', 'DEL']);
  const input = JSON.parse((second.calls()[0] ?? '').replace(/^\w+ \S* /, '')) as { prevResult: unknown };
  assert.deepEqual(input.prevResult, { cniVersion: '1.0.0', ips: [{ address: '10.99.0.5/24' }] });

  for (const command of ['ADD', 'DEL']) rmSync(join(of.root, `waits.${command}`));
  first.does('ADD', `${meets}; echo '{"code":7,"msg":"no"}'; exit 1`);
  await assert.rejects(network.attach(mine), /plugin type="stand-in" failed \(add\): no$/);
  assert.equal(existsSync(`/proc/${readFileSync(join(of.root, 'pid'), 'utf8').trim()}`), false);
  assert.deepEqual(names(second.calls()), ['ADD', 'CHECK', 'DEL', 'DEL']);
  // One that ends while it waits is started again.
  first.does('ADD', `${meets}; kill -9 "$(cat "$DATA/pid")"; while kill -0 "$(cat "$DATA/pid")" 2> /dev/null; do sleep 0.01; done`);
  rmSync(join(of.root, 'waits.ADD'));
  await network.attach(mine);
  await network.detach(mine);
  assert.deepEqual(lab.traces(of), []);
  drop(mine);
});

test('[H47] [H49] [H51] [p33] a plugin that fails or hangs in DEL keeps none of the others from giving back what they made', async () => {
  const of = lab.node({}, bridge([{ type: 'stand-in' }, { type: 'portmap', capabilities: { portMappings: true } }]));
  const own = { ...of, pluginDirs: [join(of.root, 'bin'), PLUGINS] };
  const plugin = standIn(own);
  plugin.does('ADD', `echo "$input" | sed 's/.*"prevResult"://; s/}$//'; exit 0`);
  const network = await lab.ready(own);
  for (const [does, says] of [
    [`echo '{"code":7,"msg":"stuck"}'; exit 1`, /plugin type="stand-in" failed \(delete\): stuck$/],
    ['kill -9 $$', /plugin type="stand-in" failed \(delete\): netplugin failed with no error message: signal: killed$/],
  ] as const) {
    const mine = await lab.pod('web');
    await network.attach(mine);
    plugin.does('DEL', does);
    await assert.rejects(network.detach(mine), says);
    assert.deepEqual(lab.traces(of), []);
    await network.detach(mine);
  }
});
