import { test } from 'node:test';
import assert from 'node:assert/strict';
import { apparmorProfile, applyLabelRules, containerLabel } from './index.ts';

const request = { field: undefined, deprecated: '', containerId: 'c1', defaultProfile: 'crio-default' };

test('[F55 G40 G41] which AppArmor profile a container gets', () => {
  assert.equal(apparmorProfile(request), 'crio-default');
  assert.equal(apparmorProfile({ ...request, deprecated: 'unconfined' }), 'unconfined');
  assert.equal(apparmorProfile({ ...request, deprecated: 'localhost/mine' }), 'mine');
  assert.equal(apparmorProfile({ ...request, field: { profileType: 0, localhostRef: '' } }), 'crio-default');
  assert.equal(apparmorProfile({ ...request, field: { profileType: 1, localhostRef: '' }, deprecated: 'localhost/mine' }), 'unconfined');
  assert.equal(apparmorProfile({ ...request, field: { profileType: 2, localhostRef: 'localhost/mine' } }), 'mine');
  assert.equal(
    apparmorProfile({ ...request, field: { profileType: 2, localhostRef: 'mine' }, deprecated: 'runtime/default' }),
    'crio-default',
  );
});

test('[G42] a local AppArmor profile without a name', () => {
  assert.throws(() => apparmorProfile({ ...request, field: { profileType: 2, localhostRef: '' } }), {
    message: 'applying apparmor profile to container c1: empty localhost AppArmor profile is forbidden',
  });
});

test('[F54 G49] parts of the container label over those of the pod', () => {
  const pod = 'system_u:system_r:container_t:s0:c1,c2';
  assert.equal(containerLabel(pod, { user: '', role: '', type: 'spc_t', level: '' }), 'system_u:system_r:spc_t:s0:c1,c2');
  assert.equal(containerLabel(pod, { user: '', role: '', type: '', level: 's0:c3' }), 'system_u:system_r:container_t:s0:c3');
  assert.equal(containerLabel(pod, undefined), pod);
});

test('[F54 G50 G51 G52] labels that are dropped', () => {
  const labels = { processLabel: 'p', mountLabel: 'm' };
  const rules = { privileged: false, hostPid: false, hostIpc: false, hostNetwork: false, hostNetworkDisables: true };
  assert.deepEqual(applyLabelRules(labels, rules), labels);
  assert.deepEqual(applyLabelRules(labels, { ...rules, hostPid: true }), { processLabel: '', mountLabel: '' });
  assert.deepEqual(applyLabelRules(labels, { ...rules, hostIpc: true }), { processLabel: '', mountLabel: '' });
  assert.deepEqual(applyLabelRules(labels, { ...rules, privileged: true }), { processLabel: '', mountLabel: 'm' });
  assert.deepEqual(applyLabelRules(labels, { ...rules, hostNetwork: true }), { processLabel: '', mountLabel: 'm' });
  assert.deepEqual(applyLabelRules(labels, { ...rules, hostNetwork: true, hostNetworkDisables: false }), labels);
});
