import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NamespaceMode, type UserNamespace } from '../../oci/spec/index.ts';
import { configuredMappings } from './mappings.ts';
import type { UsernsSettings } from './mode.ts';
import { annotationWarning, namesHostIds, planUserns } from './plan.ts';

const NONE: UsernsSettings = { mappings: undefined, minimumUid: -1, minimumGid: -1 };
const CONFIGURED: UsernsSettings = { ...NONE, mappings: configuredMappings('0:100000:65536', '0:200000:65536') };

interface As {
  readonly user?: number;
  readonly group?: number;
  readonly groups?: readonly number[];
  readonly userns?: UserNamespace;
}

function security({ user, group, groups = [], userns }: As) {
  const id = (value: number | undefined) => (value === undefined ? undefined : { value: BigInt(value) });
  return {
    namespaceOptions: { network: 0, pid: 0, ipc: 0, targetId: '', usernsOptions: userns },
    runAsUser: id(user),
    runAsGroup: id(group),
    supplementalGroups: groups.map(BigInt),
    supplementalGroupsPolicy: 0,
    readonlyRootfs: false,
    privileged: false,
    seccompProfilePath: '',
  };
}

const annotated = (mode: string) => new Map(mode === '' ? [] : [['userns-mode.crio.io', mode]]);
const plan = (mode: string, as: As = {}, settings = NONE) => planUserns(security(as), annotated(mode), settings);
/** `uids/gids` of given maps, `size uids/gids` of chosen ones. */
function told(mode: string, as: As = {}, settings = NONE): string {
  const made = plan(mode, as, settings);
  if (made === undefined) return 'none';
  if ('mappings' in made) {
    const { uids, gids } = made.mappings;
    return [uids, gids].map((maps) => maps.map((map) => `${map.containerId}:${map.hostId}:${map.length}`).join(',')).join('/');
  }
  const { size, additional } = made.auto;
  const maps = [additional.uids, additional.gids].map((list) =>
    list.map((map) => `${map.containerId}:${map.hostId}:${map.size}`).join(','),
  );
  return `${size} ${maps.join('/')}`;
}
const refused = (mode: string, message: string | RegExp, as: As = {}, settings = NONE) =>
  assert.throws(() => plan(mode, as, settings), { name: 'Failure', kind: 'InvalidArgument', message });

test('[D84 G85 G91 P11] CRI decides, else the annotation, else the configuration, else there is none', () => {
  const userns = {
    mode: NamespaceMode.POD,
    uids: [{ containerId: 0, hostId: 7, length: 1 }],
    gids: [{ containerId: 0, hostId: 8, length: 1 }],
  };
  assert.equal(told('', {}), 'none');
  assert.equal(told('', {}, CONFIGURED), '0:100000:65536/0:200000:65536');
  assert.equal(told('private:uidmapping=0:5:9', { user: 0, userns }, CONFIGURED), '0:7:1/0:8:1');
  assert.equal(told('auto', { userns: { ...userns, mode: NamespaceMode.NODE } }, CONFIGURED), 'none');
  assert.match(annotationWarning(security({}), annotated('auto')) ?? '', /^Annotation 'io.kubernetes.cri-o.userns-mode' is deprecated/);
  assert.equal(annotationWarning(security({ userns }), annotated('auto')), undefined);
  assert.equal(annotationWarning(security({}), annotated('')), undefined);
});

test('[F28] ids in requests are the host’s where the annotation decides and no ids are configured', () => {
  assert.equal(namesHostIds(security({}), annotated('auto'), NONE), true);
  assert.equal(namesHostIds(security({}), annotated('auto'), CONFIGURED), false);
  assert.equal(namesHostIds(security({}), annotated(''), NONE), false);
});

test('[D85 G86] the annotation’s words', () => {
  refused('auto:size', 'invalid argument: "size"');
  refused('auto:size=5;x', 'invalid argument: "x"');
  refused('auto:', 'invalid argument: ""');
  refused('host', 'invalid userns mode: "host"');
  refused('host:size=5', 'invalid userns mode: "host"');
  refused('auto:size=many', 'invalid size of a user namespace: "many"');
  refused('auto:size=99999999999', /invalid size/);
  const malformed = (kind: string, range: string) =>
    `initializing ID mappings: ${kind} setting is malformed expected ["uint32:uint32:uint32"]: "${range}"`;
  refused('auto:uidmapping=0:1', malformed('UID', '0:1'), { user: 0 });
  refused('auto:gidmapping=0:1:2,a:1:1', malformed('GID', 'a:1:1'), { user: 0 });
  refused('auto:gidmapping=0:1:4294967296', malformed('GID', '0:1:4294967296'), { user: 0 });
});

test('[D86 G89 P12] who chooses ids says as whom the pod runs, and respects the minimum', () => {
  const mode = 'private:uidmapping=0:100000:1000';
  refused(mode, 'cannot use uidmapping or gidmapping if RunAsUser is not set');
  refused(mode, 'cannot use uidmapping or gidmapping if not running as root and minimum mappable ID is not set', { user: 5 });
  refused(
    mode,
    'cannot use uidmapping or gidmapping if running as a UID below minimum mappable ID 10',
    { user: 5 },
    { ...NONE, minimumUid: 10 },
  );
  assert.equal(told(mode, { user: 0 }), '0:100000:1000,1000:0:1/0:100000:1000');
  assert.equal(told(mode, { user: 100_005 }, { ...NONE, minimumUid: 10 }), '0:100000:1000/0:100000:1000');
});

test('[D87 G87] auto: how many ids, and which of the host’s besides', () => {
  assert.equal(told('auto'), '65536 /');
  assert.equal(told('auto:size=2000'), '2000 /');
  assert.equal(told('auto', { user: 1000, group: 2000, groups: [3000, 2000] }), '65536 0:1000:1/0:2000:1,1:3000:1');
  assert.equal(told('auto:keep-id=true', { user: 1000, group: 2000, groups: [3000] }), '65536 1000:1000:1/2000:2000:1,3000:3000:1');
  assert.equal(told('auto:map-to-root=true', { user: 1000, group: 2000, groups: [3000] }), '65536 0:1000:1/0:2000:1,1:3000:1');
  assert.equal(told('auto:uidmapping=5:500:2', { user: 0 }), '65536 5:500:2,7:0:1/');
  refused('auto:keep-id=true;map-to-root=true', 'cannot use both keep-id and map-to-root: "auto:keep-id=true;map-to-root=true"');
});

test('[D88 G88] private: one kind of map serves for both, none is the configured one', () => {
  assert.equal(told('private:gidmapping=0:5000:10', { user: 5000 }, { ...NONE, minimumUid: 0 }), '0:5000:10/0:5000:10');
  assert.equal(told('private', {}, CONFIGURED), '0:100000:65536/0:200000:65536');
  assert.equal(told('private', { user: 7, groups: [8] }, CONFIGURED), '0:100000:65536,65536:7:1/0:200000:65536,65536:8:1');
  refused('private', 'userns requested but no userns mappings configured');
});

test('[D89 G90 B74] no host id below the minimum', () => {
  const settings = { ...CONFIGURED, minimumUid: 1000, minimumGid: 2000 };
  refused('auto', 'not allowed to map UID range (999-999), below minimum mappable UID 1000', { user: 999 }, settings);
  refused('auto', 'not allowed to map GID range (1999-1999), below minimum mappable GID 2000', { user: 1000, group: 1999 }, settings);
  refused('private:uidmapping=0:500:10', 'not allowed to map UID range (500-509), below minimum mappable UID 1000', { user: 0 }, settings);
  assert.equal(told('auto', { user: 1000, group: 2000 }, settings), '65536 0:1000:1/0:2000:1');
});

test('[G91] both settings count, or neither', () => {
  assert.equal(configuredMappings('0:1:2', ''), undefined);
  assert.throws(() => configuredMappings('0:1', '0:1:2'), {
    message: 'initializing ID mappings: UID setting is malformed expected ["uint32:uint32:uint32"]: "0:1"',
  });
});
