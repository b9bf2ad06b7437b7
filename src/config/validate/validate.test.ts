/** Rules that need no machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../errors/index.ts';
import { type Config, type LoadedConfig, loadConfig, logSettings, validateConfig } from '../index.ts';

function loaded(toml: string, args: readonly string[] = []): LoadedConfig {
  const files = { read: (path: string) => (path === '/x' ? toml : undefined), walk: () => [] };
  return loadConfig({ args: ['-c', '/x', '-d', '', ...args], env: {}, files, selinux: false });
}

const config = (toml: string) => loaded(toml).config;
const valid = (toml: string): Config => validateConfig(config(toml)).config;
const messages = (toml: string) => validateConfig(config(toml)).messages.map(({ level, text }) => `${level}: ${text}`);

function refused(toml: string): string {
  try {
    validateConfig(config(toml));
  } catch (error) {
    assert.ok(error instanceof Failure);
    assert.ok(error.advice, 'says what to do');
    return error.message;
  }
  assert.fail(`accepted: ${toml}`);
}

/** Each: a table, its lines, the exact text. */
function refusals(cases: readonly (readonly [table: string, line: string, text: string])[]): void {
  for (const [table, line, text] of cases) assert.equal(refused(`[${table}]\n${line}\n`), text);
}

test('the defaults are valid', () => {
  assert.deepEqual(messages(''), [
    'info: Using default capabilities: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_KILL',
  ]);
});

test('[A183] validation without execution touches nothing: missing programs, devices and directories are no error', () => {
  const toml =
    '[crio.runtime]\nadditional_devices = ["/dev/none"]\ndefault_runtime = "x"\n[crio.runtime.runtimes.x]\nruntime_path = "/none"\nmonitor_path = "/none"\n[crio]\nlog_dir = "none"\n';
  assert.equal(valid(toml).runtime.defaultRuntime, 'x');
});

test('[B13] errors carry their section', () => {
  refusals([
    ['crio.runtime', 'log_size_max = 0', 'validating runtime config: log size max should be negative or >= 8192'],
    [
      'crio.checkpoint_restore',
      'container_level_enabled = "x"',
      'validating checkpoint/restore config: invalid container_level_enabled "x": must be one of "none", "checkpoint_only" or "checkpoint_restore"',
    ],
    ['crio.image', 'short_name_mode = "x"', 'validating image config: invalid short name mode "x"'],
    [
      'crio.network',
      'cni_status_grace_period = "-1s"',
      'validating network config: invalid cni_status_grace_period: must not be negative, got -1s',
    ],
    ['crio.api', 'stream_enable_tls = true', 'validating api config: stream TLS cert path is empty'],
    [
      'crio.stats',
      'included_pod_metrics = ["all", "cpu"]',
      "validating stats config: 'all' should be only one element in included_pod_metrics",
    ],
  ]);
});

test('[B32, B33] TLS versions and cipher suites', () => {
  refusals([
    ['crio.api', 'tls_min_version = "x"', 'validating api config: validating tls_min_version: unknown tls version "x"'],
    [
      'crio.api',
      'tls_min_version = "VersionTLS11"',
      'validating api config: tls_min_version must be VersionTLS12 or VersionTLS13, got unsupported version',
    ],
    [
      'crio.api',
      'tls_cipher_suites = ["X"]',
      "validating api config: validating tls_cipher_suites: Cipher suite X not supported or doesn't exist",
    ],
    ['crio.api', 'stream_enable_tls = true\nstream_tls_cert = "/c"', 'validating api config: stream TLS key path is empty'],
  ]);
  for (const version of ['', 'VersionTLS12', 'VersionTLS13']) valid(`[crio.api]\ntls_min_version = "${version}"\n`);
  valid('[crio.api]\ntls_cipher_suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]\n');
  assert.match(
    messages('[crio.api]\ntls_min_version = "VersionTLS13"\ntls_cipher_suites = ["X"]\n').join(),
    /warning: tls_cipher_suites is ignored/,
  );
});

test('[B34, B35] message sizes of zero or less are the default', () => {
  const { api } = valid('[crio.api]\ngrpc_max_send_msg_size = 0\ngrpc_max_recv_msg_size = -5\n');
  assert.deepEqual([api.grpcMaxSendMsgSize, api.grpcMaxRecvMsgSize], [83_886_080, 83_886_080]);
  assert.equal(valid('[crio.api]\ngrpc_max_send_msg_size = 5\n').api.grpcMaxSendMsgSize, 5);
});

test('[B37, K4] the default handler has to have a table; an empty name is crun', () => {
  assert.equal(
    refused('[crio.runtime]\ndefault_runtime = "x"\n'),
    'validating runtime config: default_runtime set to "x", but no runtime entry table [crio.runtime.runtimes.x] was found',
  );
  const { runtime } = valid('[crio.runtime]\ndefault_runtime = ""\n');
  assert.deepEqual([runtime.defaultRuntime, runtime.runtimes.get('crun')?.runtimeRoot], ['crun', '/run/crun']);
});

test('[B47] capabilities are known names without CAP_, in any case', () => {
  assert.deepEqual(messages('[crio.runtime]\ndefault_capabilities = ["chown", "Sys_Admin"]\n'), [
    'info: Using default capabilities: CAP_CHOWN, CAP_SYS_ADMIN',
  ]);
  refusals([
    [
      'crio.runtime',
      'default_capabilities = ["x"]',
      'validating runtime config: invalid capabilities: validating capabilities: "CAP_X": unknown capability',
    ],
    [
      'crio.runtime',
      'default_capabilities = ["CAP_CHOWN"]',
      'validating runtime config: invalid capabilities: validating capabilities: "CAP_CAP_CHOWN": unknown capability',
    ],
  ]);
});

test('[B51] sysctls are key=value without blanks; empty ones are skipped', () => {
  valid('[crio.runtime]\ndefault_sysctls = ["", "net.ipv4.ping_group_range=0 0", "a="]\n');
  refusals([
    ['crio.runtime', 'default_sysctls = ["x"]', 'validating runtime config: invalid default_sysctls: "x" is not in key=value format'],
    [
      'crio.runtime',
      'default_sysctls = ["a = b"]',
      "validating runtime config: invalid default_sysctls: 'a = b' is invalid, extra spaces found: format should be key=value",
    ],
  ]);
});

test('[B53] ulimits', () => {
  valid('[crio.runtime]\ndefault_ulimits = ["nofile=5", "locks=-1:-1", "core=3:-1"]\n');
  const wrong = (item: string, why: string) =>
    ['crio.runtime', `default_ulimits = ["${item}"]`, `validating runtime config: unrecognized ulimit ${item}: ${why}`] as const;
  refusals([
    wrong('x', 'invalid ulimit argument: x'),
    wrong('x=1', 'invalid ulimit type: x'),
    wrong('nofile=2042:42', 'ulimit soft limit must be less than or equal to hard limit: 2042 > 42'),
    wrong('nofile=-1:5', 'ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5'),
    wrong('nofile=1:2:3', 'too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`'),
    wrong('nofile=a', 'strconv.ParseInt: parsing "a": invalid syntax'),
  ]);
});

test('form of additional devices', () => {
  valid('[crio.runtime]\nadditional_devices = ["/dev/null", "/dev/null:rw", "/dev/null:/dev/x", "/dev/null:/dev/x:rm", ""]\n');
  refusals([
    ['crio.runtime', 'additional_devices = ["/dev/null:/dev/x:q"]', 'validating runtime config: invalid device mode: q'],
    ['crio.runtime', 'additional_devices = ["/dev/null:rr"]', 'validating runtime config: invalid device mode: rr'],
    ['crio.runtime', 'additional_devices = ["/dev/null:/x"]', 'validating runtime config: invalid device mode: /x'],
    ['crio.runtime', 'additional_devices = ["/a:/dev/b:r:w"]', 'validating runtime config: invalid device specification: /a:/dev/b:r:w'],
  ]);
});

test('[B81, B82, K97] paths of artifact stores, log size, stop time-out of at least 30 s', () => {
  refusals([
    [
      'crio.runtime',
      'additional_artifact_stores = ["x"]',
      'validating runtime config: additional_artifact_stores entry must be absolute: "x"',
    ],
    ['crio.runtime', 'min_injected_gomaxprocs = -1', 'validating runtime config: min_injected_gomaxprocs must be >= 0, got -1'],
    ['crio.runtime', 'log_size_max = 8191', 'validating runtime config: log size max should be negative or >= 8192'],
  ]);
  for (const size of [-5, -1, 8192]) valid(`[crio.runtime]\nlog_size_max = ${size}\n`);
  assert.equal(valid('[crio.runtime]\nctr_stop_timeout = 5\n').runtime.ctrStopTimeout, 30);
  assert.ok(
    messages('[crio.runtime]\nctr_stop_timeout = 5\n').includes('warning: Forcing ctr_stop_timeout to lowest possible value of 30s'),
  );
  assert.equal(valid('[crio.runtime]\nctr_stop_timeout = 31\n').runtime.ctrStopTimeout, 31);
});

test('[B90] time zones are IANA names or Local', () => {
  for (const zone of ['', 'UTC', 'Europe/Berlin', 'Local', 'LOCAL']) valid(`[crio.runtime]\ntimezone = "${zone}"\n`);
  for (const zone of ['x', 'Europe/Atlantis', '+01:00', '../etc/passwd']) {
    assert.equal(refused(`[crio.runtime]\ntimezone = "${zone}"\n`), `validating runtime config: invalid timezone: ${zone}`);
  }
});

test('form of CPU lists', () => {
  valid('[crio.runtime]\ninfra_ctr_cpuset = "0-1,3,5-5"\n');
  assert.match(refused('[crio.runtime]\ninfra_ctr_cpuset = "0-"\n'), /^validating runtime config: invalid infra_ctr_cpuset: /);
  assert.match(refused('[crio.runtime]\ninfra_ctr_cpuset = "3-1"\n'), /invalid range "3-1" \(3 > 1\)$/);
});

test('[B121] workloads: annotation, annotations, resources', () => {
  const workload = (lines: string) => `[crio.runtime.workloads.w]\nactivation_annotation = "a"\n${lines}\n`;
  valid(workload('[crio.runtime.workloads.w.resources]\ncpushares = 5\ncpuquota = 2000\ncpuperiod = 1000\ncpuset = "0-1"'));
  valid(workload(''));
  const prefix = 'validating runtime config: workloads validation: ';
  const cases: readonly (readonly [string, string])[] = [
    ['[crio.runtime.workloads.w]\n', 'annotation shouldn\'t be empty for workload "w"'],
    [workload('allowed_annotations = ["x"]'), 'invalid allowed_annotation: x'],
    [
      workload('[crio.runtime.workloads.w.resources]\ncpuset = "x"'),
      'unable to parse cpuset "x": strconv.Atoi: parsing "x": invalid syntax',
    ],
    [workload('[crio.runtime.workloads.w.resources]\ncpuquota = 5\ncpushares = 10'), 'cpuquota 5 cannot be less than cpushares 10'],
    [workload('[crio.runtime.workloads.w.resources]\ncpuperiod = 5'), 'cpuperiod 5 cannot be less than 1000 microseconds'],
  ];
  for (const [toml, text] of cases) assert.equal(refused(toml), prefix + text);
});

test('[A170, B79, B125] checkpoint levels; the deprecated switch forces none', () => {
  for (const level of ['none', 'checkpoint_only', 'checkpoint_restore']) {
    assert.equal(valid(`[crio.checkpoint_restore]\ncontainer_level_enabled = "${level}"\n`).checkpointRestore.containerLevelEnabled, level);
  }
  const off = '[crio.runtime]\nenable_criu_support = false\n';
  assert.equal(valid(off).checkpointRestore.containerLevelEnabled, 'none');
  assert.ok(
    messages(off).includes(
      'warning: The config field enable_criu_support is deprecated. Please use the [crio.checkpoint_restore] table with container_level_enabled instead',
    ),
  );
  assert.equal(
    refused('[crio.checkpoint_restore]\ncontainer_level_enabled = "x"\n').endsWith(
      'must be one of "none", "checkpoint_only" or "checkpoint_restore"',
    ),
    true,
  );
});

test('[B137] kinds of image volumes and short names; pause image and directories', () => {
  assert.equal(refused('[crio.image]\nimage_volumes = "x"\n'), 'unrecognized image volume type specified');
  for (const kind of ['mkdir', 'bind', 'ignore']) valid(`[crio.image]\nimage_volumes = "${kind}"\n`);
  for (const mode of ['enforcing', 'disabled', '']) valid(`[crio.image]\nshort_name_mode = "${mode}"\n`);
  refusals([
    ['crio.image', 'pause_image = "a b"', 'validating image config: invalid pause image "a b": invalid reference format'],
    ['crio.image', 'pause_image = ""', 'validating image config: invalid pause image "": invalid reference format'],
    ['crio.image', 'signature_policy_dir = "x"', 'validating image config: signature policy dir "x" is not absolute'],
    ['crio.image', 'namespaced_auth_dir = "x"', 'validating image config: namespaced auth dir "x" is not absolute'],
  ]);
  for (const image of ['registry.k8s.io/pause:3.10.1', 'localhost:5000/a/b_c/d--e', '[::1]:5000/x', `pause@sha256:${'a'.repeat(64)}`]) {
    valid(`[crio.image]\npause_image = "${image}"\n`);
  }
});

test('[B159] pod metrics', () => {
  valid('[crio.stats]\nincluded_pod_metrics = ["all"]\n');
  valid('[crio.stats]\nincluded_pod_metrics = ["cpu", "diskIO"]\n');
  assert.equal(
    refused('[crio.stats]\nincluded_pod_metrics = ["x"]\n'),
    'validating stats config: invalid pod metrics "x", available metrics: [cpu disk diskIO hugetlb memory network oom process spec pressure]',
  );
});

test('[K22] deprecated monitor keys replace those of every handler of type oci', () => {
  const { runtimes } = valid(
    '[crio.runtime]\nconmon = "/c"\nconmon_cgroup = "pod"\nconmon_env = ["A=b"]\n[crio.runtime.runtimes.x]\nmonitor_path = "/m"\n[crio.runtime.runtimes.v]\nruntime_type = "vm"\nmonitor_path = "/m"\n',
  ).runtime;
  for (const name of ['crun', 'x']) {
    const handler = runtimes.get(name);
    assert.deepEqual([handler?.monitorPath, handler?.monitorCgroup, handler?.monitorEnv], ['/c', 'pod', ['A=b']], name);
  }
  assert.equal(runtimes.get('v')?.monitorPath, '/m');
});

test('[A24, B75] log level, filter and form', () => {
  const settings = (args: readonly string[]) => {
    const { config: given, commandLine } = loaded('', args);
    return logSettings(given, commandLine);
  };
  assert.deepEqual(settings([]), { level: 'info', filter: undefined, format: 'text', file: undefined });
  assert.deepEqual(settings(['-l', 'WARN', '--log-format', 'json', '--log', '/f']), {
    level: 'warning',
    filter: undefined,
    format: 'json',
    file: '/f',
  });
  for (const level of ['trace', 'debug', 'info', 'error', 'fatal', 'panic'])
    assert.equal(settings(['-l', level.toUpperCase()]).level, level);
  assert.ok(settings(['--log-filter', '(?i)ABC']).filter?.test('xabcx'));
  assert.throws(() => settings(['-l', 'x']), { message: 'not a valid logrus Level: "x"' });
  assert.throws(() => settings(['-l', 'constructor']), { message: 'not a valid logrus Level: "constructor"' });
  assert.throws(() => settings(['--log-filter', '(']), { message: /^custom log level filter does not compile: error parsing regexp: / });
  assert.throws(() => settings(['--log-format', 'x']), { message: 'unknown log-format "x"' });
});
