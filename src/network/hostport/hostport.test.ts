import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PortMapping } from '../pod.ts';
import { hostPortsOf, mappingsOf, requireSound, shortHash } from './mappings.ts';
import { addScript, deleteScript, elementsOf, ensureScript, parseElements } from './nft.ts';
import { addRules, parseSaved, removeRules } from './rules.ts';

const ID = '14810b06d3c84dcbd55b3a75d1ac2579434a30a27346e4af04dfd219ac9c8aef';
const mapping = (hostPort: number, more: Partial<PortMapping> = {}): PortMapping => ({
  hostPort,
  containerPort: 80,
  protocol: 'TCP',
  hostIp: '',
  ...more,
});

test('[H71] the mark of a sandbox is the one that CRI-O gave it on the recorded node', () => {
  assert.equal(shortHash(ID), '52AKI35NYDNG2ATK');
});

test('[H44] [H65] first address of each family, host addresses pick theirs, port 0 maps nothing', () => {
  const all = [mapping(1), mapping(0), mapping(2, { hostIp: '0.0.0.0' }), mapping(3, { hostIp: '::' }), mapping(4, { hostIp: 'fd00::9' })];
  assert.deepEqual(
    mappingsOf(all, 4).map((one) => one.hostPort),
    [1, 2],
  );
  assert.deepEqual(
    mappingsOf(all, 6).map((one) => one.hostPort),
    [1, 3, 4],
  );
  const found = hostPortsOf(ID, 'k8s', ['10.85.0.2', '10.85.0.3', 'fd00::2', 'fd00::3'], all);
  assert.deepEqual(
    found.map((one) => one.podIp),
    ['10.85.0.2', 'fd00::2'],
  );
  assert.deepEqual(hostPortsOf(ID, 'k8s', ['10.85.0.2'], [mapping(3, { hostIp: '::' })]), []);
});

test('what becomes nft or iptables text is sound first', () => {
  const ports =
    (more: Partial<PortMapping>, podIp = '10.0.0.1') =>
    () =>
      requireSound({ sandboxId: ID, sandboxName: 'k', family: 4, podIp, mappings: [mapping(80, more)] });
  assert.doesNotThrow(ports({}));
  for (const bad of [{ hostPort: 70000 }, { containerPort: 0 }, { hostIp: '1.2.3.4; flush ruleset' }, { protocol: 'TCP }' as 'TCP' }])
    assert.throws(ports(bad));
  assert.throws(ports({}, 'x'));
});

test('[H68] [H71] elements: any address, one address, hairpin; their key deletes them', () => {
  const [ports] = hostPortsOf(ID, 'k8s', ['10.85.0.2'], [mapping(8080), mapping(53, { protocol: 'UDP', hostIp: '192.0.2.1' })]);
  assert.ok(ports !== undefined);
  assert.equal(
    addScript(elementsOf(ports)),
    'add element ip crio-hostports hostports { tcp . 8080 comment "52AKI35NYDNG2ATK" : 10.85.0.2 . 80 }\n' +
      'add element ip crio-hostports hostipports { 192.0.2.1 . udp . 53 comment "52AKI35NYDNG2ATK" : 10.85.0.2 . 80 }\n' +
      'add element ip crio-hostports hairpins { 10.85.0.2 . 10.85.0.2 comment "52AKI35NYDNG2ATK" }\n',
  );
  assert.equal(deleteScript(elementsOf(ports).slice(0, 1)), 'delete element ip crio-hostports hostports { tcp . 8080 }\n');
});

test('[H67] [H69] the static part exists for both families', () => {
  assert.match(ensureScript(6), /dnat ip6 addr \. port to ip6 daddr \. meta l4proto \. th dport map @hostipports\n/);
  assert.match(ensureScript(6), /type ipv6_addr \. ipv6_addr/);
  assert.doesNotMatch(ensureScript(6), /\bip \w|ipv4/);
});

test('[H71] elements are found in what nft lists', () => {
  const listed = {
    nftables: [
      { metainfo: { json_schema_version: 1 } },
      { table: { name: 'crio-hostports' } },
      {
        map: {
          name: 'hostports',
          elem: [
            [{ elem: { val: { concat: ['tcp', 8080] }, comment: 'MINE' } }, { concat: ['10.85.0.2', 80] }],
            [{ concat: ['udp', 53] }, { concat: ['10.85.0.3', 53] }],
          ],
        },
      },
      { map: { name: 'other', elem: [[{ concat: ['tcp', 1] }, { concat: ['10.0.0.1', 1] }]] } },
      { set: { name: 'hairpins', elem: [{ elem: { val: { concat: ['10.85.0.2', '10.85.0.2'] }, comment: 'MINE' } }] } },
    ],
  };
  assert.deepEqual(parseElements(JSON.stringify(listed), 4), [
    { family: 4, set: 'hostports', key: 'tcp . 8080', value: '10.85.0.2 . 80', comment: 'MINE' },
    { family: 4, set: 'hostports', key: 'udp . 53', value: '10.85.0.3 . 53', comment: '' },
    { family: 4, set: 'hairpins', key: '10.85.0.2 . 10.85.0.2', value: undefined, comment: 'MINE' },
  ]);
  assert.deepEqual(parseElements('[]', 4), []);
});

test('[H73] [H74] [H75] iptables: base chains and jumps where missing, the pod’s rules first, all others kept', () => {
  const [ports] = hostPortsOf(ID, 'k8s_web_default_u_0', ['10.85.0.2'], [mapping(8080)]);
  assert.ok(ports !== undefined);
  const empty = parseSaved('*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n');
  const first = addRules(empty, ports);
  const hash = shortHash(`${ID}8080TCP`);
  assert.ok(first.includes(`:KUBE-HP-${hash} - [0:0]`));
  assert.ok(
    first.includes(
      `-I KUBE-HOSTPORTS -m comment --comment "k8s_web_default_u_0 hostport 8080" -m tcp -p tcp --dport 8080 -j KUBE-HP-${hash}`,
    ),
  );
  assert.ok(first.includes('-j DNAT --to-destination=10.85.0.2:80'));
  assert.ok(first.includes('-m conntrack --ctorigdstport 8080 -m tcp -p tcp --dport 80 -s 10.85.0.2 -d 10.85.0.2 -j MASQUERADE'));
  assert.equal(first.match(/kube hostport portals/g)?.length, 2);

  const saved = parseSaved(
    [
      '*nat',
      ':KUBE-HOSTPORTS - [3:4]',
      ':KUBE-HP-OTHER - [0:0]',
      `:KUBE-HP-${hash} - [0:0]`,
      ':FOREIGN - [0:0]',
      '-A PREROUTING -m comment --comment "kube hostport portals" -m addrtype --dst-type LOCAL -j KUBE-HOSTPORTS',
      `-A KUBE-HOSTPORTS -p tcp --dport 8080 -j KUBE-HP-${hash}`,
      '-A KUBE-HOSTPORTS -p tcp --dport 9090 -j KUBE-HP-OTHER',
      `-A KUBE-HP-${hash} -p tcp -j DNAT --to-destination 10.85.0.2:80`,
      '-A FOREIGN -j ACCEPT',
      'COMMIT',
    ].join('\n'),
  );
  const again = addRules(saved, ports);
  assert.ok(again.includes('-A KUBE-HOSTPORTS -p tcp --dport 9090 -j KUBE-HP-OTHER'));
  assert.ok(!again.includes('FOREIGN'));
  assert.equal(again.match(/kube hostport portals/g)?.length, 1, 'only the jump of OUTPUT is missing');

  const removal = removeRules(saved, ID, [mapping(8080)]);
  assert.ok(removal !== undefined);
  assert.ok(removal.includes(`-X KUBE-HP-${hash}`));
  assert.ok(removal.includes('-A KUBE-HOSTPORTS -p tcp --dport 9090 -j KUBE-HP-OTHER'));
  assert.ok(!removal.includes('--dport 8080'));
  assert.equal(removeRules(empty, ID, [mapping(8080)]), undefined);
});
