import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CAPABILITIES, capabilitiesOfMask, capabilityName, planCapabilities, readHostCapabilities } from './index.ts';

const DEFAULTS = ['CHOWN', 'KILL'];
const plan = (add: string[], drop: string[]) => planCapabilities({ add, drop, defaults: DEFAULTS }, CAPABILITIES);

test('[F46 G61] defaults follow what is added', () => {
  assert.deepEqual(plan([], []), ['CAP_CHOWN', 'CAP_KILL']);
  assert.deepEqual(plan(['net_raw', 'CAP_CHOWN'], ['kill']), ['CAP_NET_RAW', 'CAP_CHOWN']);
});

test('[F47 G63 G65] ALL in any case leaves the defaults out; drops of ALL win over adds of ALL', () => {
  assert.deepEqual(plan(['All'], []), CAPABILITIES);
  assert.deepEqual(
    plan(['ALL'], ['net_admin']),
    CAPABILITIES.filter((cap) => cap !== 'CAP_NET_ADMIN'),
  );
  assert.deepEqual(plan([], ['all']), []);
  assert.deepEqual(plan(['NET_RAW'], ['ALL']), ['CAP_NET_RAW']);
  assert.deepEqual(plan(['ALL', 'NET_RAW'], ['ALL']), ['CAP_NET_RAW']);
  assert.deepEqual(plan(['ALL'], ['ALL']), []);
});

test('[F47 G64] unknown names fail with the texts of CRI-O', () => {
  assert.throws(() => plan(['foo'], []), { message: 'unknown capability "CAP_FOO" to add' });
  assert.throws(() => plan([], ['foo']), { message: 'failed to drop cap CAP_FOO invalid capability: CAP_FOO' });
  const old = CAPABILITIES.slice(0, 37);
  assert.throws(() => planCapabilities({ add: ['BPF'], drop: [], defaults: [] }, old), { message: 'unknown capability "CAP_BPF" to add' });
  assert.deepEqual(planCapabilities({ add: [], drop: ['BPF'], defaults: [] }, old), []);
});

test('a set never holds what was dropped by name, and nothing unknown', () => {
  const name = fc.constantFrom(...CAPABILITIES, 'ALL');
  fc.assert(
    fc.property(fc.array(name, { maxLength: 8 }), fc.array(name, { maxLength: 8 }), (add, drop) => {
      const set = plan(add, drop);
      return set.every((cap) => CAPABILITIES.includes(cap) && !drop.includes(cap)) && new Set(set).size === set.length;
    }),
  );
});

test('masks of /proc and names of both kinds', () => {
  assert.deepEqual([...capabilitiesOfMask('0000000000000021')], ['CAP_CHOWN', 'CAP_KILL']);
  assert.equal(capabilityName('cap_sys_admin'), capabilityName('SYS_ADMIN'));
  const host = readHostCapabilities();
  assert.ok(host.known.length >= 38 && host.known.every((cap, bit) => cap === CAPABILITIES[bit]));
});
