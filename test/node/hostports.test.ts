/** Host ports where nft, iptables or IPv6 are missing, fail, or are busy. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { inPrivateNetwork } from '../harness/netns.ts';
import {
  HOST_IP,
  HOST_IP6,
  type LabNode,
  NetworkLab,
  OUTSIDE_IP,
  OUTSIDE_IP6,
  ask,
  bridge,
  drop,
  port,
  sh,
  silent,
  until,
} from '../harness/network.ts';

inPrivateNetwork(import.meta.filename);
const lab = new NetworkLab();
before(() => lab.open());
beforeEach(() => lab.begin());
afterEach(() => lab.end());
after(() => lab.close());

const DUAL = [['10.85.0.0/16'], ['fd00:85::/64']];

/** The bridge network without masquerading, for which the plugin itself would need iptables. */
function plain(ranges?: string[][]): unknown {
  const list = bridge([], ranges) as { plugins: object[] };
  return { ...list, plugins: list.plugins.map((plugin) => ({ ...plugin, ipMasq: false })) };
}

/** The node's daemon finds nothing but these programs; a script of ours goes in front of the real one. */
function withPrograms(of: LabNode, programs: readonly string[], scripts: Readonly<Record<string, string>> = {}): LabNode {
  const bin = join(of.root, 'sbin');
  mkdirSync(bin);
  for (const program of programs) symlinkSync(`/usr/sbin/${program}`, join(bin, program.replace('-legacy', '')));
  for (const [name, text] of Object.entries(scripts)) writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return { ...of, environment: { ...of.environment, PATH: `${bin}:/usr/bin`, XTABLES_LOCKFILE: join(of.root, 'xtables.lock') } };
}

const IPTABLES = ['iptables', 'iptables-save', 'iptables-restore'];
const IP6TABLES = IPTABLES.map((name) => name.replace('ip', 'ip6'));

test('[H73] [H74] [H75] [H77] iptables for both families: every protocol, one host address, hairpin, the newest pod wins a port', async () => {
  const of = withPrograms(lab.node({}, bridge([], DUAL)), [...IPTABLES, ...IP6TABLES]);
  const network = await lab.ready(of);
  const web = await lab.pod('web', {
    portMappings: [
      port(8080),
      port(5300, 53, { protocol: 'UDP' }),
      port(3868, 3868, { protocol: 'SCTP' }),
      port(8081, 80, { hostIp: HOST_IP }),
    ],
  });
  const { ips } = await network.attach(web);
  const [v4, v6] = [sh('iptables-save', '-t', 'nat'), sh('ip6tables-save', '-t', 'nat')];
  assert.ok(
    v4.includes(`-A KUBE-HOSTPORTS -p sctp -m comment --comment "k8s_web_default_u-1_0 hostport 3868" -m sctp --dport 3868 -j KUBE-HP-`),
    v4,
  );
  assert.match(v4, new RegExp(`-A KUBE-HP-[A-Z2-7]{16} -d ${HOST_IP}/32 -p tcp .* -m tcp -j DNAT --to-destination ${ips[0]}:80`));
  assert.match(v6, /-A KUBE-HP-[A-Z2-7]{16} -p udp .* -m udp -j DNAT --to-destination \[fd00:85::[0-9a-f]+\]:53/);
  assert.doesNotMatch(v6, /8081/);
  await lab.serve(web.netnsPath, 80);
  await lab.serve(web.netnsPath, 53, 'udp');
  assert.equal(ask(lab.outside, HOST_IP, 8080), OUTSIDE_IP);
  assert.equal(ask(lab.outside, HOST_IP, 8081), OUTSIDE_IP);
  assert.equal(ask(lab.outside, HOST_IP, 5300, 'udp'), OUTSIDE_IP);
  await until('IPv6 answers', () => !silent(lab.outside, HOST_IP6, 8080));
  assert.equal(ask(lab.outside, HOST_IP6, 8080), OUTSIDE_IP6);
  assert.equal(ask(web.netnsPath, HOST_IP, 8080), '10.85.0.1', 'hairpin');
  assert.equal(ask(web.netnsPath, HOST_IP6, 8080), 'fd00:85::1', 'hairpin');

  const newer = await lab.pod('newer', { portMappings: [port(8080, 81)] });
  await network.attach(newer);
  await lab.serve(newer.netnsPath, 81);
  assert.equal(sh('iptables', '-t', 'nat', '-S', 'KUBE-HOSTPORTS').match(/hostport 8080/g)?.length, 2);
  assert.match(sh('iptables', '-t', 'nat', '-S', 'KUBE-HOSTPORTS').split('\n')[1] ?? '', /k8s_newer_/);
  await network.detach(newer);
  assert.equal(ask(lab.outside, HOST_IP, 8080), OUTSIDE_IP, 'the older pod has its port again');
  await network.detach(web);
  assert.deepEqual(lab.traces(of), []);
  drop(web, newer);
});

test('[H76] iptables is changed by one restore that keeps every other rule and counter', async () => {
  const restore = 'echo "$@" >> "$DATA/restores"; cat > "$DATA/input"; exec /usr/sbin/iptables-restore "$@" < "$DATA/input"';
  const of = withPrograms(lab.node(), IPTABLES.slice(0, 2), { 'iptables-restore': restore });
  sh('iptables', '-t', 'nat', '-N', 'SOMEBODYS');
  sh('iptables', '-t', 'nat', '-A', 'SOMEBODYS', '-c', '7', '700', '-d', '192.0.2.1', '-j', 'ACCEPT');
  const network = await lab.ready(of);
  const [first, second] = [await lab.pod('first', { portMappings: [port(8080)] }), await lab.pod('second', { portMappings: [port(8081)] })];
  await network.attach(first);
  await network.attach(second);
  const restores = readFileSync(join(of.root, 'restores'), 'utf8').trim().split('\n');
  assert.deepEqual(restores, ['-w 5 -W 100000 --noflush --counters', '-w 5 -W 100000 --noflush --counters']);
  const input = readFileSync(join(of.root, 'input'), 'utf8');
  assert.match(input, /^\*nat\n/);
  for (const text of ['k8s_first_default_u-1_0 hostport 8080', 'k8s_second_default_u-1_0 hostport 8081']) assert.ok(input.includes(text));
  assert.match(sh('iptables-save', '-c', '-t', 'nat'), /\[7:700\] -A SOMEBODYS -d 192\.0\.2\.1\/32 -j ACCEPT/);
  await network.detach(first);
  await network.detach(second);
  sh('iptables', '-t', 'nat', '-F', 'SOMEBODYS');
  sh('iptables', '-t', 'nat', '-X', 'SOMEBODYS');
  assert.deepEqual(lab.traces(of), []);
  drop(first, second);
});

test('[H76] iptables of the old kind: the restore waits for whoever holds its lock', async () => {
  const restore = 'touch "$DATA/waits"; exec /usr/sbin/iptables-legacy-restore "$@"';
  const of = withPrograms(lab.node({}, plain()), ['iptables-legacy', 'iptables-legacy-save'], { 'iptables-restore': restore });
  const network = await lab.ready(of);
  const mine = await lab.pod('web', { portMappings: [port(8080)] });
  const holder = spawn('flock', [join(of.root, 'xtables.lock'), 'sh', '-c', 'echo held; read release'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  let over = false;
  const attached = network.attach(mine).finally(() => (over = true));
  try {
    await until('the restore waits', () => existsSync(join(of.root, 'waits')));
    await delay(300);
    assert.equal(over, false);
  } finally {
    holder.stdin.end('\n');
  }
  await attached;
  assert.match(sh('iptables-legacy-save', '-t', 'nat'), /hostport 8080/);
  await network.detach(mine);
  assert.doesNotMatch(sh('iptables-legacy-save', '-t', 'nat'), /KUBE-HP|10\.85\.0\.\d+(?!\/16)/);
  drop(mine);
});

test('[H63] a host without IPv6 rules says so once; only a pod that wants an IPv6 host port fails', async () => {
  const nft =
    'case "$*$(cat > "$DATA/in.$$"; cat "$DATA/in.$$")" in *ip6*) echo "no IPv6" >&2; exit 1;; esac; exec /usr/sbin/nft "$@" < "$DATA/in.$$"';
  const of = withPrograms(lab.node({}, plain(DUAL)), IPTABLES, { nft });
  const network = await lab.ready(of);
  const said = (text: string) => lab.lines.filter((line) => line.includes(text)).length;
  assert.equal(said('No kernel support for IPv6: could not run nftables command: '), 1);
  assert.equal(said('No iptables support for IPv6: iptables not available'), 1);
  const [four, both] = [
    await lab.pod('four', { portMappings: [port(8080, 80, { hostIp: '0.0.0.0' })] }),
    await lab.pod('both', { portMappings: [port(8081)] }),
  ];
  assert.equal((await network.attach(four)).ips.length, 2);
  await assert.rejects(
    network.attach(both),
    /^Failure: failed to add hostport mapping for sandbox .*: no HostPort support for IPv6 on this host$/,
  );
  await network.detach(four);
  assert.deepEqual(lab.traces(of), []);
  drop(four, both);
});

test('[H48] host ports that cannot be closed cost a warning, and the pod ends', async () => {
  const nft = '[ -e "$DATA/broken" ] && { echo "nft is broken" >&2; exit 1; }; exec /usr/sbin/nft "$@"';
  const of = withPrograms(lab.node(), IPTABLES, { nft });
  const network = await lab.ready(of);
  const mine = await lab.pod('web', { portMappings: [port(8080)] });
  await network.attach(mine);
  writeFileSync(join(of.root, 'broken'), '');
  await network.detach(mine);
  const warning = `Failed to remove hostport for pod sandbox k8s_web_default_u-1_0(${mine.id}): `;
  assert.ok(lab.lines.some((line) => line.includes('level=warning') && line.includes(warning)));
  assert.equal(existsSync(join(of.cacheDir, 'results', `crio-bridge-${mine.id}-eth0`)), false);
  sh('nft', 'delete', 'table', 'ip', 'crio-hostports');
  drop(mine);
  assert.deepEqual(lab.traces(of), []);
});
