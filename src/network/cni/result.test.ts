import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import { decodeCached, encodeCached } from './cache.ts';
import { goJson } from './json.ts';
import { addressesOf, asVersion, parseResult, toJson } from './result.ts';

const bridge = {
  cniVersion: '1.0.0',
  interfaces: [
    { name: 'cni0', mac: '72:5d:23:71:c9:3c' },
    { name: 'eth0', mac: '7e:0b:a1:ce:1a:2a', sandbox: '/var/run/netns/x' },
  ],
  ips: [
    { interface: 1, address: '10.85.0.2/16', gateway: '10.85.0.1' },
    { interface: 1, address: 'fd00::2/64', gateway: 'fd00::1' },
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0', gw: 'fd00::1' }],
  dns: {},
};

test('[H33] a result of each version is understood and can be told in each other version', () => {
  const result = parseResult(JSON.stringify(bridge), '1.0.0');
  assert.deepEqual(addressesOf(result), ['10.85.0.2', 'fd00::2']);
  const old = toJson(asVersion(result, '0.4.0'));
  assert.deepEqual(old['ips'], [
    { version: '4', interface: 1, address: '10.85.0.2/16', gateway: '10.85.0.1' },
    { version: '6', interface: 1, address: 'fd00::2/64', gateway: 'fd00::1' },
  ]);
  const oldest = toJson(asVersion(result, '0.2.0'));
  assert.deepEqual(oldest, {
    cniVersion: '0.2.0',
    ip4: { ip: '10.85.0.2/16', gateway: '10.85.0.1', routes: [{ dst: '0.0.0.0/0' }] },
    ip6: { ip: 'fd00::2/64', gateway: 'fd00::1', routes: [{ dst: '::/0', gw: 'fd00::1' }] },
  });
  for (const version of ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'])
    assert.deepEqual(asVersion(parseResult(JSON.stringify(toJson(asVersion(result, version))), ''), '1.0.0'), result, version);
  for (const version of ['0.1.0', '0.2.0']) {
    const back = parseResult(JSON.stringify(toJson(asVersion(result, version))), '');
    assert.deepEqual(addressesOf(back), addressesOf(result));
  }
});

test('[H33] a result without version has the configuration’s, null is an empty one, empty dns is none', () => {
  assert.equal(parseResult('{}', '0.4.0').cniVersion, '0.4.0');
  assert.deepEqual(parseResult('null', '1.0.0'), { cniVersion: '1.0.0' });
  assert.equal(parseResult('{"cniVersion":""}', '').cniVersion, '0.1.0');
  assert.equal('dns' in parseResult(JSON.stringify(bridge), ''), false);
});

test('[H42] addresses are spelled as Go spells them', () => {
  const of = (address: string) => addressesOf(parseResult(JSON.stringify({ cniVersion: '1.0.0', ips: [{ address }] }), ''));
  assert.deepEqual(of('FD00:0:0:0::0002/64'), ['fd00::2']);
  assert.deepEqual(of('::ffff:10.0.0.1/128'), ['10.0.0.1']);
});

test('what is no result fails, and never with anything but a Failure', () => {
  for (const text of [
    '',
    '[]',
    '"x"',
    '{"cniVersion":"7.0.0"}',
    '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1"}]}',
    '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1/33"}]}',
    '{"cniVersion":"1.0.0","ips":{}}',
  ])
    assert.throws(() => parseResult(text, ''), Failure, text);
  const member = fc.constantFrom('cniVersion', 'ips', 'ip4', 'interfaces', 'routes', 'dns', 'address', 'gateway', '__proto__');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.dictionary(member, fc.jsonValue()).map((value) => JSON.stringify(value)),
      ),
      (text) => {
        try {
          parseResult(text, '1.0.0');
        } catch (error) {
          assert.ok(error instanceof Failure, String(error));
        }
      },
    ),
  );
});

test('[H40] a cache file of CRI-O is read, and written again byte for byte', () => {
  const recorded = readFileSync(new URL('./testdata/crio-bridge-eth0', import.meta.url), 'utf8');
  const cached = decodeCached(recorded);
  assert.ok(cached?.result !== undefined);
  assert.deepEqual(addressesOf(cached.result), ['10.85.0.2']);
  assert.equal(encodeCached(cached.network, cached.config, cached, cached.result), recorded);
});

test('[D70] [H43] the result in CNI 1.1 form is the text that CRI-O recorded', () => {
  const recorded = readFileSync(new URL('./testdata/crio-bridge-eth0', import.meta.url), 'utf8');
  const result = decodeCached(recorded)?.result ?? assert.fail();
  assert.equal(
    goJson(toJson(asVersion(result, '1.1.0'))),
    '{"cniVersion":"1.1.0","interfaces":[{"mac":"72:5d:23:71:c9:3c","name":"cni0"},{"mac":"6a:78:df:46:1c:26","name":"veth64a93e64"},{"mac":"7e:0b:a1:ce:1a:2a","name":"eth0","sandbox":"/var/run/netns/139124c0-f252-402c-82d9-e878c8b1c0dc"}],"ips":[{"address":"10.85.0.2/16","gateway":"10.85.0.1","interface":2}],"routes":[{"dst":"0.0.0.0/0"}]}',
  );
});

test('[H40] strange cache files are not ours: no kind, another kind, a result nobody understands', () => {
  assert.equal(decodeCached('{"containerId":"x","ifName":"eth0","networkName":"n"}'), undefined);
  assert.equal(decodeCached('{"kind":"other","containerId":"x","ifName":"eth0","networkName":"n"}'), undefined);
  assert.equal(decodeCached('[]'), undefined);
  const cached = decodeCached('{"KIND":"cniCacheV1","containerID":"x","ifname":"eth0","networkName":"n","result":{"cniVersion":"9.9.9"}}');
  assert.equal(cached?.containerId, 'x');
  assert.equal(cached.result, undefined);
});
