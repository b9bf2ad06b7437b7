import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultConfig } from '../config/index.ts';
import { defaultImageSettings } from '../images/index.ts';
import { silentLogger } from '../log/index.ts';
import { SystemdScopes } from '../resources/index.ts';
import type { Store } from '../storage/index.ts';
import { separatePulls } from './separate-pulls.ts';

const settings = defaultImageSettings({ env: {}, uid: 0, version: '1.37.0' });
const place = { graphRoot: '/nowhere', runRoot: '/nowhere' };
const store: Pick<Store, 'removeAbandoned'> = { removeAbandoned: async () => {} };

async function pull(separatePullCgroup: string, cgroupParent: string, scopes: SystemdScopes | undefined): Promise<unknown> {
  const initial = defaultConfig();
  const config = { ...initial, runtime: { ...initial.runtime, separatePullCgroup } };
  const apart = separatePulls(config, { place, store, settings, scopes, log: silentLogger });
  return await apart?.pull({ reference: 'busybox' }, cgroupParent, () => {}, AbortSignal.timeout(1000));
}

test('[I37, B83] what no slice is meant by is refused before anything is started, and so is all without systemd', async () => {
  const scopes = new SystemdScopes('/nowhere', silentLogger);
  assert.equal(await pull('', '', scopes), undefined, 'in the daemon');
  await assert.rejects(pull('elsewhere', '', scopes), { message: 'invalid systemd cgroup "elsewhere"' });
  await assert.rejects(pull('pod', '/kubepods/pod1', scopes), /did not receive slice as parent: \/kubepods\/pod1/);
  await assert.rejects(pull('pulls.slice', '', undefined), { message: '--separate-pull-cgroup is supported only with systemd' });
});
