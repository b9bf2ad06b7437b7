import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../errors/index.ts';
import {
  ContainerConfig,
  MountPropagation,
  NamespaceMode,
  PodSandboxConfig,
  Protocol,
  SecurityProfile_ProfileType as ProfileType,
} from '../../wire/index.ts';
import { dnsOf, parseResolvConf } from './dns.ts';
import { expand } from './env.ts';
import { type Pod, checkNonRoot, containerConfig, parseManifest, pullPolicyOf, sandboxConfig } from './index.ts';
import { parseQuantity } from './quantity.ts';
import { qosOf, resourcesOf } from './resources.ts';

const node = { resolver: { servers: ['10.0.0.1'], searches: ['lan'], options: ['ndots:1'] }, memoryBytes: 8n << 30n };
const facts = { uid: 'u1', nodeName: 'node-7', ips: ['10.1.0.9', 'fd00::9'] };

/** A pod of one container, with more of the manifest merged in as YAML's flow style. */
const podOf = (container = '', spec = '', metadata = ''): Pod =>
  parseManifest(
    `{apiVersion: v1, kind: Pod, metadata: {name: web${metadata}}, spec: {containers: [{name: main, image: busybox${container}}]${spec}}}`,
  );
const firstOf = (pod: Pod) => pod.spec.containers[0] ?? assert.fail('no container');
const configOf = (pod: Pod, sources: readonly string[] = []): ContainerConfig =>
  ContainerConfig.create(containerConfig(pod, firstOf(pod), facts, node, 'sha256:abc', sources));
const sandboxOf = (pod: Pod): PodSandboxConfig => PodSandboxConfig.create(sandboxConfig(pod, 'u1', node));

function refused(work: () => unknown, message: RegExp): void {
  assert.throws(
    work,
    (error: unknown) => error instanceof Failure && error.kind === 'InvalidArgument' && message.test(error.message),
    String(message),
  );
}

describe('a manifest', () => {
  it('may be what kubectl prints', () => {
    const pod = parseManifest(`
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  labels:
    run: web
  name: web
spec:
  containers:
  - image: nginx
    name: web
    resources: {}
  dnsPolicy: ClusterFirst
  restartPolicy: Always
status: {}
`);
    assert.equal(pod.metadata.namespace, 'default');
    assert.deepEqual([...pod.metadata.labels], [['run', 'web']]);
    assert.equal(
      firstOf(parseManifest('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"b","image":"c"}]}}'))
        .image,
      'c',
    );
  });

  it('is refused by the path of what is wrong', () => {
    const cases: readonly (readonly [() => unknown, RegExp])[] = [
      [() => podOf(', imag: x'), /^spec\.containers\[0\]\.imag: unknown field$/],
      [
        () => podOf(', ports: [{containerPort: 80}, {containerPort: 70000}]'),
        /^spec\.containers\[0\]\.ports\[1\]\.containerPort: .*65535, found 70000/,
      ],
      [() => podOf(', livenessProbe: {}'), /^spec\.containers\[0\]\.livenessProbe: not supported: only a kubelet/],
      [() => podOf('', ', volumes: [{name: a, configMap: {name: x}}]'), /^spec\.volumes\[0\]\.configMap: not supported/],
      [
        () => podOf('', ', volumes: [{name: a, emptyDir: {medium: Memory}}]'),
        /^spec\.volumes\[0\]\.emptyDir\.medium: "Memory" is not supported/,
      ],
      [() => podOf(', env: [{name: A, value: 5}]'), /^spec\.containers\[0\]\.env\[0\]\.value: expected a text, found 5/],
      [() => podOf('', '', ', labels: {a: true}'), /^metadata\.labels\[a\]: expected a text, found true/],
      [() => podOf(', resources: {limits: {cpu: lots}}'), /^spec\.containers\[0\]\.resources\.limits\.cpu: expected a quantity/],
      [() => podOf(', volumeMounts: [{name: a, mountPath: /a}]'), /volumeMounts\[0\]\.name: there is no volume "a"/],
      [() => podOf(', volumeMounts: [{name: a, mountPath: /a, subPath: ../b}]'), /subPath: expected a relative path/],
      [() => podOf(', env: [{name: A, valueFrom: {secretKeyRef: {}}}]'), /valueFrom\.secretKeyRef: not supported: it needs an API server/],
      [() => podOf(', env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]'), /fieldPath: "status\.hostIP" is not known/],
      [() => podOf(', securityContext: {privileged: true, allowPrivilegeEscalation: false}'), /allowPrivilegeEscalation: cannot be false/],
      [() => podOf(', restartPolicy: Always'), /^spec\.containers\[0\]\.restartPolicy/],
      [() => podOf('', ', hostUsers: false'), /^spec\.hostUsers/],
      [() => podOf('', ', dnsPolicy: None'), /^spec\.dnsConfig\.nameservers/],
      [() => podOf('', ', initContainers: [{name: main, image: x}]'), /^spec\.containers\[0\]\.name: "main" is the name of another/],
      [() => podOf(', ports: [{containerPort: 1, hostPort: 9}, {containerPort: 2, hostPort: 9}]'), /ports\[1\]\.hostPort: 9 is taken/],
      [() => podOf(', ports: [{containerPort: 1, hostPort: 9}]', ', hostNetwork: true'), /hostPort: must be the containerPort/],
      [() => podOf(', resources: {requests: {memory: 2Mi}, limits: {memory: 1Mi}}'), /requests\.memory: is more than the limit/],
      [() => podOf(', securityContext: {seccompProfile: {type: Localhost}}'), /seccompProfile\.localhostProfile: is missing/],
      [() => podOf('', '', ', __proto__: {}'), /^metadata\.__proto__: unknown field/],
      [() => parseManifest('kind: Deployment'), /^kind: expected Pod, found "Deployment"/],
      [() => parseManifest('apiVersion: v1\nkind: Pod\nmetadata: {name: UPPER}'), /^metadata\.name: expected a name/],
      [() => parseManifest('a: [1'), /not YAML/],
      [() => parseManifest(''), /empty/],
      [() => parseManifest('a: 1\n---\nb: 2'), /2 documents/],
      [() => parseManifest('[1]'), /the manifest: expected a mapping, found a list/],
    ];
    for (const [work, message] of cases) refused(work, message);
  });

  it('never ends in anything but a pod or a failure that names a place', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((spec) => `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":${spec}}`),
        ),
        (text) => {
          try {
            parseManifest(text);
          } catch (error) {
            assert.ok(error instanceof Failure, String(error));
          }
        },
      ),
    );
  });
});

describe('quantities', () => {
  it('are exact, and rounded up', () => {
    assert.deepEqual(
      ['1', '1.5', '250m', '0.0005', '100u', '1e2', '2E-1'].map((text) => parseQuantity(text, 1000n)),
      [1000n, 1500n, 250n, 1n, 1n, 100_000n, 200n],
    );
    assert.deepEqual(
      ['64Mi', '1.5Gi', '1k', '1E', '1e3', '.5'].map((text) => parseQuantity(text, 1n)),
      [64n << 20n, 3n << 29n, 1000n, 10n ** 18n, 1000n, undefined],
    );
    for (const bad of ['', '-1', '1 Mi', '1mi', '0x10', '1e999', 'Mi', '1.2.3']) assert.equal(parseQuantity(bad, 1n), undefined, bad);
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 1n << 40n }), (milli) => assert.equal(parseQuantity(`${milli}m`, 1000n), milli)));
  });

  it("become shares, quota, limits and scores by the kubelet's formulas", () => {
    const resources = (text: string) => {
      const pod = podOf(`, resources: ${text}`);
      return resourcesOf(pod, firstOf(pod), node.memoryBytes);
    };
    assert.deepEqual(resources('{}'), { cpuShares: 2n, oomScoreAdj: 1000n, hugepageLimits: [] });
    assert.deepEqual(resources('{limits: {cpu: 1500m, memory: 64Mi}}'), {
      cpuShares: 1536n,
      cpuPeriod: 100_000n,
      cpuQuota: 150_000n,
      memoryLimitInBytes: 64n << 20n,
      oomScoreAdj: -997n,
      hugepageLimits: [],
    });
    assert.equal(resources('{limits: {cpu: 1m}}').cpuQuota, 1000n);
    assert.equal(resources('{requests: {memory: 4Gi}}').oomScoreAdj, 500n);
    assert.equal(resources('{requests: {cpu: 1m}}').oomScoreAdj, 999n);
    assert.equal(resources('{requests: {memory: 8Gi}}').oomScoreAdj, 3n);
    assert.deepEqual(resources('{limits: {hugepages-2Mi: 4Mi}}').hugepageLimits, [{ pageSize: '2MB', limit: 4n << 20n }]);
    assert.equal(qosOf(podOf(', resources: {requests: {cpu: 1, memory: 1Mi}, limits: {cpu: 2, memory: 1Mi}}')), 'Burstable');
  });
});

describe('the environment', () => {
  it('expands $(NAME) in values, commands and arguments', () => {
    const variables = new Map([
      ['A', '1'],
      ['B', '$(A)'],
    ]);
    assert.equal(expand('$(A)-$$(A)-$(C)-$A-$$$$-$(B)-$(A', variables), '1-$(A)-$(C)-$A-$$-$(A)-$(A');
    const config = configOf(
      podOf(
        ', command: ["/bin/$(N)"], args: ["$(IP)"], env: [{name: N, value: sh}, {name: M, value: "$(N)-$(LATER)"}, {name: LATER, value: x}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]',
      ),
    );
    assert.deepEqual(
      config.envs.map(({ key, value }) => `${key}=${Buffer.from(value).toString()}`),
      ['N=sh', 'M=sh-$(LATER)', 'LATER=x', 'IP=10.1.0.9'],
    );
    assert.deepEqual([config.command, config.args], [['/bin/sh'], ['10.1.0.9']]);
  });

  it('knows the pod', () => {
    const fields = [
      'metadata.name',
      'metadata.namespace',
      'metadata.uid',
      "metadata.labels['app.io/x']",
      "metadata.annotations['none']",
      'spec.nodeName',
      'status.podIPs',
    ];
    const env = fields.map((path, index) => `{name: V${index}, valueFrom: {fieldRef: {fieldPath: "${path}"}}}`).join(', ');
    const config = configOf(podOf(`, env: [${env}]`, '', ', labels: {app.io/x: y}'));
    assert.deepEqual(
      config.envs.map(({ value }) => Buffer.from(value).toString()),
      ['web', 'default', 'u1', 'y', '', 'node-7', '10.1.0.9,fd00::9'],
    );
  });
});

describe('the sandbox', () => {
  it('has the names, labels and log directory that a kubelet gives it', () => {
    const config = sandboxOf(
      podOf(
        ', ports: [{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}, {containerPort: 53, protocol: UDP}]',
        '',
        ', namespace: prod, labels: {a: b, io.kubernetes.pod.uid: forged}, annotations: {c: d}',
      ),
    );
    assert.deepEqual(config.metadata, { name: 'web', namespace: 'prod', uid: 'u1', attempt: 0 });
    assert.equal(config.hostname, 'web');
    assert.equal(config.logDirectory, '/var/log/pods/prod_web_u1');
    assert.deepEqual(Object.fromEntries(config.labels), {
      a: 'b',
      'io.kubernetes.pod.name': 'web',
      'io.kubernetes.pod.namespace': 'prod',
      'io.kubernetes.pod.uid': 'u1',
    });
    assert.equal(config.annotations.get('c'), 'd');
    assert.equal(config.dnsConfig, undefined);
    assert.deepEqual(config.portMappings, [
      { containerPort: 80, hostPort: 8080, hostIp: '127.0.0.1', protocol: Protocol.TCP },
      { containerPort: 53, hostPort: 0, hostIp: '', protocol: Protocol.UDP },
    ]);
  });

  it('shares with node and containers what the manifest says', () => {
    const namespaces = (spec: string) => {
      const { network, pid, ipc } = sandboxOf(podOf('', spec)).linux?.securityContext?.namespaceOptions ?? assert.fail('no namespaces');
      return [network, pid, ipc];
    };
    const { POD, CONTAINER, NODE } = NamespaceMode;
    assert.deepEqual(namespaces(''), [POD, CONTAINER, POD]);
    assert.deepEqual(namespaces(', shareProcessNamespace: true'), [POD, POD, POD]);
    assert.deepEqual(namespaces(', hostNetwork: true, hostPID: true, hostIPC: true'), [NODE, NODE, NODE]);
    assert.equal(sandboxOf(podOf('', ', hostNetwork: true')).hostname, '');
    const secured = sandboxOf(
      podOf(
        ', securityContext: {privileged: true}',
        ', securityContext: {fsGroup: 7, supplementalGroups: [8], sysctls: [{name: net/ipv4/ip_forward, value: "1"}]}',
      ),
    );
    assert.equal(secured.linux?.securityContext?.privileged, true);
    assert.deepEqual(secured.linux?.securityContext?.supplementalGroups, [7n, 8n]);
    assert.deepEqual([...(secured.linux?.sysctls ?? [])], [['net.ipv4.ip_forward', '1']]);
  });

  it('resolves names as dnsPolicy and dnsConfig say', () => {
    assert.deepEqual(
      parseResolvConf('# x\nnameserver 1.1.1.1\nsearch a b ; c\noptions ndots:2 edns0\nnameserver  fe80::1%eth0\noptions rotate\nsearch c'),
      {
        servers: ['1.1.1.1', 'fe80::1%eth0'],
        searches: ['c'],
        options: ['ndots:2', 'edns0', 'rotate'],
      },
    );
    const config = '{nameservers: [9.9.9.9], searches: [svc], options: [{name: ndots, value: "5"}, {name: edns0}]}';
    assert.deepEqual(dnsOf(podOf('', `, dnsConfig: ${config}`), node.resolver), {
      servers: ['10.0.0.1', '9.9.9.9'],
      searches: ['lan', 'svc'],
      options: ['ndots:5', 'edns0'],
    });
    assert.deepEqual(dnsOf(podOf('', `, dnsPolicy: None, dnsConfig: ${config}`), node.resolver), {
      servers: ['9.9.9.9'],
      searches: ['svc'],
      options: ['ndots:5', 'edns0'],
    });
  });
});

describe('a container', () => {
  it('has the names, labels, annotations and log that a kubelet gives it', () => {
    const config = configOf(podOf(', tty: true, workingDir: /tmp', ', terminationGracePeriodSeconds: 7'));
    assert.deepEqual(config.metadata, { name: 'main', attempt: 0 });
    assert.equal(config.logPath, 'main/0.log');
    assert.equal(config.image?.image, 'sha256:abc');
    assert.equal(config.image?.userSpecifiedImage, 'busybox');
    assert.equal(config.labels.get('io.kubernetes.container.name'), 'main');
    assert.equal(config.labels.get('io.kubernetes.pod.uid'), 'u1');
    assert.equal(config.annotations.get('io.kubernetes.pod.terminationGracePeriod'), '7');
    assert.match(config.annotations.get('io.kubernetes.container.hash') ?? '', /^[0-9a-f]{8}$/);
    assert.ok(config.tty);
    assert.equal(config.workingDir, '/tmp');
  });

  it('sees volumes where it mounts them', () => {
    const mounts =
      ', volumeMounts: [{name: a, mountPath: /a/, readOnly: true, recursiveReadOnly: Enabled}, {name: b, mountPath: /b, subPath: x/y, mountPropagation: HostToContainer}]';
    const config = configOf(podOf(mounts, ', volumes: [{name: a, hostPath: {path: /srv}}, {name: b, emptyDir: {}}]'), [
      '/srv',
      '/state/b/x/y',
    ]);
    assert.deepEqual(
      config.mounts.map(({ containerPath, hostPath, readonly, recursiveReadOnly, propagation }) => ({
        containerPath,
        hostPath,
        readonly,
        recursiveReadOnly,
        propagation,
      })),
      [
        {
          containerPath: '/a',
          hostPath: '/srv',
          readonly: true,
          recursiveReadOnly: true,
          propagation: MountPropagation.PROPAGATION_PRIVATE,
        },
        {
          containerPath: '/b',
          hostPath: '/state/b/x/y',
          readonly: false,
          recursiveReadOnly: false,
          propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
        },
      ],
    );
  });

  it('is secured as itself says, else as its pod says', () => {
    const pod = ', securityContext: {runAsUser: 5, runAsGroup: 6, seccompProfile: {type: RuntimeDefault}, supplementalGroups: [9]}';
    const plain = configOf(podOf('', pod)).linux?.securityContext ?? assert.fail('no context');
    assert.deepEqual(
      [plain.runAsUser?.value, plain.runAsGroup?.value, plain.seccomp?.profileType, plain.supplementalGroups],
      [5n, 6n, ProfileType.RuntimeDefault, [9n]],
    );
    assert.ok(plain.maskedPaths.includes('/proc/kcore') && plain.readonlyPaths.includes('/proc/sys'));
    assert.equal(plain.noNewPrivs, false);
    const own =
      configOf(
        podOf(
          ', securityContext: {runAsUser: 0, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, procMount: Unmasked, capabilities: {add: [NET_ADMIN], drop: [ALL]}, seccompProfile: {type: Localhost, localhostProfile: a/b.json}}',
          pod,
        ),
      ).linux?.securityContext ?? assert.fail('no context');
    assert.equal(own.runAsUser?.value, 0n);
    assert.deepEqual([own.readonlyRootfs, own.noNewPrivs, own.maskedPaths], [true, true, []]);
    assert.deepEqual([own.capabilities?.addCapabilities, own.capabilities?.dropCapabilities], [['NET_ADMIN'], ['ALL']]);
    assert.deepEqual(own.seccomp, { profileType: ProfileType.Localhost, localhostRef: '/var/lib/kubelet/seccomp/a/b.json' });
    assert.equal(configOf(podOf()).linux?.securityContext?.seccomp, undefined);
  });

  it('that must not be root is refused where it is, or where nobody can tell', () => {
    const check = (container: string, image: { uid?: bigint; username?: string }) => () => {
      const pod = podOf(`, securityContext: {runAsNonRoot: true${container}}`);
      checkNonRoot(pod, firstOf(pod), { uid: image.uid === undefined ? undefined : { value: image.uid }, username: image.username ?? '' });
    };
    assert.doesNotThrow(check(', runAsUser: 5', {}));
    assert.doesNotThrow(check('', { uid: 5n }));
    assert.throws(check('', {}), /would run as root/);
    assert.throws(check(', runAsUser: 0', { uid: 5n }), /would run as root/);
    assert.throws(check('', { username: 'app' }), /cannot be verified/);
  });

  it('pulls what is called latest each time', () => {
    const policy = (image: string, said = '') =>
      pullPolicyOf(
        firstOf(
          parseManifest(`{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: b, image: "${image}"${said}}]}}`),
        ),
      );
    assert.deepEqual(
      ['a', 'a:latest', 'host:5000/a', 'a:1', 'host:5000/a:1', 'a@sha256:00'].map((image) => policy(image)),
      ['Always', 'Always', 'Always', 'IfNotPresent', 'IfNotPresent', 'IfNotPresent'],
    );
    assert.equal(policy('a', ', imagePullPolicy: Never'), 'Never');
  });
});
