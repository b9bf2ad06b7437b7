import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import type { SandboxId } from '../../ids/index.ts';
import type { PodNetwork } from '../pod.ts';
import { parseNetworkList } from './config.ts';
import { parseVersions, pluginFailure } from './plugins.ts';
import { parseQuantity } from './quantity.ts';
import { capabilityArgs, inheritedEnvironment, pluginEnvironment, pluginInput, podArgs } from './request.ts';

const pod = (annotations: Record<string, string> = {}): PodNetwork => ({
  id: 'f'.repeat(64) as SandboxId,
  name: 'web',
  namespace: 'default',
  uid: 'u-1',
  sandboxName: 'k8s_web_default_u-1_0',
  netnsPath: '/var/run/netns/x',
  cgroupParent: '/kubepods/podu-1',
  annotations: new Map(Object.entries(annotations)),
  portMappings: [{ hostPort: 80, containerPort: 8080, protocol: 'TCP', hostIp: '' }],
});

test('[H29] CNI_ARGS: five pairs in CRI-O’s order, then the daemon’s own', () => {
  const args = podArgs(pod(), 'A=b=c;junk;D=');
  const attachment = { containerId: pod().id, netns: '/n', netnsId: '', ifName: 'eth0', args, capabilityArgs: {} };
  assert.equal(
    pluginEnvironment('ADD', '/a:/b', attachment)['CNI_ARGS'],
    `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${pod().id};K8S_POD_UID=u-1;A=b=c;D=`,
  );
});

test('[H28] the daemon’s environment is inherited, but for what steers Node; the CNI variables win', () => {
  const inherited = inheritedEnvironment({ PATH: '/bin', NODE_OPTIONS: '--inspect', NODE_NAME: 'n1', CNI_COMMAND: 'x', GONE: undefined });
  assert.deepEqual(
    { ...inherited, ...pluginEnvironment('STATUS', '/a') },
    {
      PATH: '/bin',
      NODE_NAME: 'n1',
      CNI_COMMAND: 'STATUS',
      CNI_CONTAINERID: '',
      CNI_NETNS: '',
      CNI_ARGS: '',
      CNI_IFNAME: '',
      CNI_PATH: '/a',
    },
  );
});

test('[H30] [H31] only what a plugin lists as true is told, and port mappings never', () => {
  const network = parseNetworkList(
    Buffer.from(
      JSON.stringify({
        cniVersion: '1.0.0',
        name: 'n',
        plugins: [
          { type: 'a', capabilities: { portMappings: true, bandwidth: true, cgroupPath: true, 'io.kubernetes.cri.pod-annotations': true } },
          { type: 'b', name: 'own', capabilities: { cgroupPath: false } },
        ],
      }),
    ),
  );
  const args = capabilityArgs(pod({ 'kubernetes.io/egress-bandwidth': '10M', note: 'x' }));
  const inputs = network.plugins.map(
    (plugin) => JSON.parse(pluginInput(network, plugin, { capabilityArgs: args })) as Record<string, unknown>,
  );
  assert.deepEqual(inputs[0]?.['runtimeConfig'], {
    bandwidth: { ingressRate: 0, ingressBurst: 0, egressRate: 10_000_000, egressBurst: 34359738359 },
    cgroupPath: '/kubepods/podu-1',
    'io.kubernetes.cri.pod-annotations': { 'kubernetes.io/egress-bandwidth': '10M', note: 'x' },
  });
  assert.equal(inputs[1] !== undefined && 'runtimeConfig' in inputs[1], false);
  assert.deepEqual([inputs[1]?.['name'], inputs[1]?.['cniVersion']], ['n', '1.0.0']);
});

test('[D71] [H32] bandwidth annotations: rates with a burst that never limits; nonsense fails', () => {
  assert.deepEqual(capabilityArgs(pod({ 'kubernetes.io/ingress-bandwidth': '1Gi' }))['bandwidth'], {
    ingressRate: 1073741824,
    ingressBurst: 34359738359,
    egressRate: 0,
    egressBurst: 0,
  });
  assert.equal('bandwidth' in capabilityArgs(pod({ 'kubernetes.io/ingress-bandwidth': '0' })), false);
  assert.throws(
    () => capabilityArgs(pod({ 'kubernetes.io/egress-bandwidth': 'fast' })),
    /^Failure: failed to parse egress bandwidth: quantities must match/,
  );
  assert.throws(() => capabilityArgs(pod({ 'kubernetes.io/ingress-bandwidth': '1Q' })), {
    message: "failed to parse ingress bandwidth: unable to parse quantity's suffix",
  });
});

test('[H32] quantities', () => {
  for (const [text, value] of [
    ['10', 10n],
    ['1.5k', 1500n],
    ['0.5M', 500_000n],
    ['1.5Mi', 1_572_864n],
    ['2e3', 2000n],
    ['5E', 5_000_000_000_000_000_000n],
    ['100m', undefined],
    ['9Ei', undefined],
    ['-5', -5n],
    ['.5k', 500n],
  ] as const)
    assert.equal(parseQuantity(text), value, text);
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 62n }), (value) => parseQuantity(String(value)) === value));
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseQuantity(text);
      } catch (error) {
        assert.ok(error instanceof Failure);
      }
    }),
  );
});

test('[H34] what a failed plugin says of itself', () => {
  const failed = (stdout: string, stderr: string, signal: NodeJS.Signals | null = null) =>
    pluginFailure({ code: signal === null ? 1 : null, signal, stdout: Buffer.from(stdout), stderr }).message;
  assert.equal(failed('{"code":11,"msg":"not now","details":"later"}', 'noise'), 'not now; later');
  assert.equal(failed('{"code":7,"msg":"bad"}', ''), 'bad');
  assert.equal(failed('', 'boom\n'), 'netplugin failed: "boom\\n"');
  assert.equal(failed('', ''), 'netplugin failed with no error message: exit status 1');
  assert.equal(failed('', '', 'SIGKILL'), 'netplugin failed with no error message: signal: killed');
  assert.match(failed('oops', ''), /^netplugin failed but error parsing its diagnostic message "oops": /);
  assert.equal(pluginFailure({ code: 1, signal: null, stdout: Buffer.from('{"code":11,"msg":"x"}'), stderr: '' }).code, 'CNI_11');
});

test('[H6] answers to VERSION', () => {
  assert.deepEqual(parseVersions('{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'), ['0.4.0', '1.0.0']);
  assert.deepEqual(parseVersions('{"cniVersion":"0.2.0"}'), ['0.1.0', '0.2.0']);
  assert.throws(() => parseVersions('{"cniVersion":"1.0.0"}'), { message: 'decoding version info: missing field supportedVersions' });
  assert.throws(() => parseVersions('{}'), { message: 'decoding version info: missing field cniVersion' });
});
