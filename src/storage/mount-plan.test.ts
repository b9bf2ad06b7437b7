import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MS } from '../linux/index.ts';
import { lowerOf, type MountInputs, parseLower, planMount } from './mount-plan.ts';

const H = '/var/lib/containers/storage/overlay';
const id = '7a400d7a83b9d46803b7d98e03ae18fd768a76e8179360cfbef7887b141968ed';
const link = 'SMAZONBBAYXHALBJTYK45K3LHF';
const inputs: MountInputs = {
  layerDirectory: `${H}/${id}`,
  target: `${H}/${id}/merged`,
  lowers: [`${H}/l/${link}`],
  defaultOptions: [],
  options: [],
  volatile: true,
  metacopySupported: false,
  label: '',
};

test('[J25] a container is mounted as CRI-O does it: lower, upper, work, volatile', () => {
  const plan = planMount(inputs);
  assert.equal(plan.target, `${H}/${id}/merged`);
  assert.equal(plan.data, `lowerdir=${H}/l/${link},upperdir=${H}/${id}/diff,workdir=${H}/${id}/work,volatile`);
  assert.equal(plan.flags, 0);
});

test('[J25] mountopt words become flags or data, the label comes last and quoted', () => {
  const label = 'system_u:object_r:container_file_t:s0:c1,c2';
  const plan = planMount({
    ...inputs,
    defaultOptions: ['nodev', 'fsync=auto', 'metacopy=on'],
    metacopySupported: true,
    volatile: false,
    label,
  });
  assert.equal(
    plan.data,
    `lowerdir=${H}/l/${link},upperdir=${H}/${id}/diff,workdir=${H}/${id}/work,fsync=auto,metacopy=on,context="${label}"`,
  );
  assert.equal(plan.flags, MS.NODEV);
  assert.deepEqual(plan.parameters.at(-1), ['context', label]);
});

test("a mount's own options replace the default ones, except metacopy=on where it works", () => {
  const own = { ...inputs, defaultOptions: ['nodev', 'metacopy=on'], options: ['ro', 'noexec', 'nosuid', 'nodev'] };
  const plan = planMount({ ...own, metacopySupported: true });
  assert.equal(plan.flags, MS.RDONLY | MS.NOEXEC | MS.NOSUID | MS.NODEV);
  assert.equal(plan.data, `lowerdir=${H}/${id}/diff:${H}/l/${link},metacopy=on`);
  assert.equal(planMount({ ...own, options: ['ro'] }).flags, MS.RDONLY);
});

test('[J34] metacopy=on is dropped where the kernel does not do it', () => {
  assert.ok(!planMount({ ...inputs, defaultOptions: ['metacopy=on'] }).data?.includes('metacopy'));
});

test('a layer without lowers gets its empty directory', () => {
  assert.ok(planMount({ ...inputs, lowers: [] }).data?.startsWith(`lowerdir=${H}/${id}/empty,`));
  assert.equal(planMount({ ...inputs, lowers: [], options: ['ro'] }).data, `lowerdir=${H}/${id}/diff:${H}/${id}/empty`);
});

test('[J25] more than a page of data, or separators in paths, are not for mount(2)', () => {
  const many = Array.from({ length: 80 }, () => `${H}/l/${link}`);
  const plan = planMount({ ...inputs, lowers: many });
  assert.equal(plan.data, undefined);
  assert.equal(plan.lowers.length, 80);
  assert.equal(planMount({ ...inputs, layerDirectory: '/a:b/overlay/x' }).data, undefined);
});

test('[J23] lower files chain links and are checked when read', () => {
  assert.equal(lowerOf({ link, lower: undefined }), `l/${link}`);
  assert.equal(lowerOf({ link, lower: `l/${link}` }), `l/${link}:l/${link}`);
  assert.deepEqual(parseLower(`l/${link}:l/${link}`), [link, link]);
  for (const bad of ['', 'l/', `l/${link}:`, `../l/${link}`, `l/${link}\n`, `l/../../${link}`])
    assert.equal(parseLower(bad), undefined, bad);
});
