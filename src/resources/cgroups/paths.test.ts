import { test } from 'node:test';
import assert from 'node:assert/strict';
import {
  containerCgroupsPath,
  containerDirectory,
  droppedInfraDirectory,
  expandSlice,
  parseCgroupParent,
  sandboxCgroupsPath,
} from './index.ts';

test('[D57 L5 L6] systemd keeps the last element of a slice and refuses anything else', () => {
  assert.equal(parseCgroupParent('systemd', '/kubepods.slice/kubepods-pod1.slice'), 'kubepods-pod1.slice');
  assert.equal(parseCgroupParent('systemd', ''), '');
  assert.throws(() => parseCgroupParent('systemd', '/kubepods/pod1'), {
    message: 'cri-o configured with systemd cgroup manager, but did not receive slice as parent: /kubepods/pod1',
  });
  assert.equal(sandboxCgroupsPath('systemd', 'kubepods-pod1.slice', 'S'), 'kubepods-pod1.slice:crio:S');
  assert.equal(sandboxCgroupsPath('systemd', '', 'S'), '');
  assert.equal(sandboxCgroupsPath('systemd', '/kubepods.slice/kubepods-pod1.slice', 'S'), 'kubepods-pod1.slice:crio:S');
  assert.throws(() => sandboxCgroupsPath('systemd', '/kubepods', 'S'), { name: 'Failure' });
});

test('[D58 L7] cgroupfs refuses slices', () => {
  assert.equal(parseCgroupParent('cgroupfs', '/kubepods/pod1'), '/kubepods/pod1');
  assert.throws(() => parseCgroupParent('cgroupfs', '/kubepods.slice'), {
    message: 'cri-o configured with cgroupfs cgroup manager, but received systemd slice as parent: /kubepods.slice',
  });
  assert.equal(sandboxCgroupsPath('cgroupfs', '/kubepods/pod1', 'S'), '/kubepods/pod1/crio-S');
  assert.equal(sandboxCgroupsPath('cgroupfs', '', 'S'), 'crio-S');
  assert.throws(() => parseCgroupParent('cgroupfs', '/kubepods/../../etc'), { kind: 'InvalidArgument' });
});

test('[F36 L2] systemd: slice, prefix and id', () => {
  assert.equal(containerCgroupsPath('systemd', 'kubepods-pod1.slice', 'C'), 'kubepods-pod1.slice:crio:C');
  assert.equal(containerCgroupsPath('systemd', '/kubepods.slice/kubepods-pod1.slice', 'C'), 'kubepods-pod1.slice:crio:C');
  assert.equal(containerCgroupsPath('systemd', '', 'C'), 'system.slice:crio:C');
});

test('[F37 L3] cgroupfs: a path below the parent', () => {
  assert.equal(containerCgroupsPath('cgroupfs', '/kubepods/pod1', 'C'), '/kubepods/pod1/crio-C');
  assert.equal(containerCgroupsPath('cgroupfs', '', 'C'), '/crio/crio-C');
});

test('[L4] slices expand by their dashes', () => {
  assert.equal(expandSlice('a-b-c.slice'), '/a.slice/a-b.slice/a-b-c.slice');
  assert.equal(expandSlice('-.slice'), '/');
  assert.equal(containerDirectory('systemd', 'a-b.slice', 'C'), '/a.slice/a-b.slice/crio-C.scope');
  for (const bad of ['a', 'a/b.slice', '.slice', 'a--b.slice', '-a.slice'])
    assert.throws(() => expandSlice(bad), { message: `invalid slice name: ${bad}` });
});

test('[L16 L17] the cgroup of a pod without infra process', () => {
  assert.equal(droppedInfraDirectory('systemd', 'a-b.slice', 'S'), '/a.slice/a-b.slice/crio-S');
  assert.equal(droppedInfraDirectory('systemd', '', 'S'), undefined);
  assert.equal(droppedInfraDirectory('cgroupfs', '/p', 'S'), '/p/crio-S');
  assert.equal(droppedInfraDirectory('systemd', '/a.slice/a-b.slice', 'S'), '/a.slice/a-b.slice/crio-S');
  assert.equal(droppedInfraDirectory('systemd', '/p', 'S'), undefined);
  assert.equal(droppedInfraDirectory('cgroupfs', '/p.slice', 'S'), undefined);
});
