/** Rules about programs, files and directories, in a directory of their own. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Failure } from '../../errors/index.ts';
import { type ValidatedConfig, loadConfig, validateConfig } from '../index.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'crio-config-'));
  mkdirSync(join(root, 'bin'));
  for (const name of ['crun', 'conmon']) program(name);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function program(name: string): string {
  const path = join(root, 'bin', name);
  writeFileSync(path, '#!/bin/sh\n', { mode: 0o755 });
  return path;
}

/** All directories lie below the test's own; `toml` is a drop-in file over that. */
function validate(toml = '', path = join(root, 'bin')): ValidatedConfig {
  const base = `
[crio]
log_dir = "${root}/log"
[crio.image]
signature_policy_dir = "${root}/policies"
namespaced_auth_dir = "${root}/auth"
[crio.network]
network_dir = "${root}/net.d"
plugin_dirs = ["${root}/plugins"]
[crio.runtime]
namespaces_dir = "${root}/ns"
hooks_dir = ["${root}/hooks"]
`;
  const files = { read: (file: string) => (file === '/x' ? base : toml), walk: () => ['/d/y'] };
  const { config } = loadConfig({ args: ['-c', '/x', '-d', '/d'], env: { CONTAINERS_STORAGE_CONF: '/x' }, files, selinux: false });
  return validateConfig(config, { onExecution: true, env: { PATH: path } });
}

function refused(toml: string, path?: string): Failure {
  try {
    validate(toml, path);
  } catch (error) {
    assert.ok(error instanceof Failure);
    assert.ok(error.advice, 'says what to do');
    return error;
  }
  assert.fail(`accepted: ${toml}`);
}

const warnings = (result: ValidatedConfig) =>
  result.messages.flatMap(({ level, text }) => (level === 'warning' || level === 'error' ? [`${level}: ${text}`] : []));
const table = (name: string, lines: string) => `[crio.runtime.runtimes.${name}]\n${lines}`;

test('[B19, B144, B145, H1, H2, H25] directories are made with their modes', () => {
  validate();
  const modeOf = (name: string) => statSync(join(root, name)).mode & 0o777;
  assert.equal(modeOf('log'), 0o700);
  for (const name of ['policies', 'auth', 'net.d', 'plugins', 'hooks', 'ns', 'ns/netns', 'ns/ipcns', 'ns/utsns', 'ns/userns', 'ns/pidns']) {
    assert.equal(modeOf(name), 0o755, name);
  }
});

test('[B19] log_dir has to be absolute and a directory', () => {
  assert.equal(refused('[crio]\nlog_dir = "x"\n').message, 'validating root config: log_dir is not an absolute path');
  writeFileSync(join(root, 'file'), '');
  assert.equal(
    refused(`[crio]\nlog_dir = "${root}/file/x"\n`).message,
    `validating root config: invalid log_dir: mkdir ${root}/file/x: not a directory`,
  );
});

test('an image store has to differ from the root', () => {
  assert.match(
    refused('[crio]\nroot = "/r"\nimagestore = "/r"\n').message,
    /imagestore \/r must either be not set or be a different than graphroot$/,
  );
});

test('[B92, K6] runtime_path: from $PATH by the name of the handler, or a file that is there', () => {
  program('other');
  const { config } = validate(table('other', '') + table('link', `runtime_path = "${root}/bin/crun"\n`));
  assert.equal(config.runtime.runtimes.get('crun')?.runtimePath, join(root, 'bin/crun'));
  assert.equal(config.runtime.runtimes.get('other')?.runtimePath, join(root, 'bin/other'));
  rmSync(join(root, 'bin/crun'));
  assert.equal(
    refused('').message,
    'validating runtime config: runtime validation: "crun" not found in $PATH: exec: "crun": executable file not found in $PATH',
  );
  assert.equal(
    refused(table('crun', 'runtime_path = "/none"\n')).message,
    "validating runtime config: runtime validation: invalid runtime_path for runtime 'crun': stat /none: no such file or directory",
  );
});

test('a missing default runtime names the one that is installed', () => {
  rmSync(join(root, 'bin/crun'));
  assert.match(refused('').advice ?? '', /^Install it, or set runtime_path/);
  program('runc');
  assert.match(refused('').advice ?? '', /runc is installed, set default_runtime = "runc" .*add a table \[crio\.runtime\.runtimes\.runc\]/);
  assert.match(refused(table('runc', 'runtime_root = "/run/runc"\n')).advice ?? '', /set default_runtime = "runc" in \[crio\.runtime\]\.$/);
});

test('[B113, K10] an invalid handler is dropped with a warning, an invalid default one stops the start', () => {
  const result = validate(table('gone', 'runtime_path = "/none"\n'));
  assert.deepEqual([...result.config.runtime.runtimes.keys()], ['crun']);
  assert.deepEqual(warnings(result), [
    `warning: Runtime handler "gone" is being ignored due to: invalid runtime_path for runtime 'gone': stat /none: no such file or directory`,
  ]);
  assert.match(
    refused(`[crio.runtime]\ndefault_runtime = "gone"\n${table('gone', 'runtime_path = "/none"\n')}`).message,
    /^validating runtime config: runtime validation: invalid runtime_path/,
  );
});

/** Handlers that are dropped, and why. */
function dropped(id: string, lines: string, why: string): void {
  test(id, () => {
    const path = program('x');
    const result = validate(table('x', `${lines}\n${lines.includes('runtime_path') ? '' : `runtime_path = "${path}"`}\n`));
    assert.equal(result.config.runtime.runtimes.has('x'), false);
    assert.deepEqual(
      warnings(result).filter((text) => text.includes('ignored')),
      [`warning: Runtime handler "x" is being ignored due to: ${why}`],
    );
  });
}

dropped('[B93, K5] type', 'runtime_type = "t"', 'invalid `runtime_type` "t" for runtime "x"');
dropped(
  '[B95, K8] configuration without type vm',
  'runtime_config_path = "/c"',
  "runtime_config_path can only be used with the 'vm' runtime type",
);
dropped(
  '[B96, K7] name of the program of a vm',
  'runtime_type = "vm"',
  "invalid runtime_path for runtime 'x': containerd binary naming pattern is not followed",
);
dropped('[B99] allowed_annotations', 'allowed_annotations = ["devices.crio.io", "a"]', 'invalid allowed_annotation: a');
dropped(
  '[B108, K13] no_sync_log',
  'runtime_type = "pod"\nno_sync_log = true',
  "no sync log: no_sync_log is only allowed with runtime type 'oci', runtime type is 'pod'",
);
dropped(
  'stream_websockets without type pod',
  'runtime_type = "oci"\nstream_websockets = true',
  'websocket streaming: only the \'runtime_type = "pod"\' supports websocket streaming, not "oci" (runtime "x")',
);
dropped('[B110, K15] exec_cpu_affinity', 'exec_cpu_affinity = "last"', 'invalid exec_cpu_affinity "last"');
dropped(
  'seccomp profile that is not there',
  'seccomp_profile = "/none"',
  'unable to load runtime handler seccomp profile: open seccomp profile: open /none: no such file or directory',
);

test('[B95, B96, K7, K8] a vm handler with a shim and its configuration is kept', () => {
  const shim = program('containerd-shim-kata-v2');
  writeFileSync(join(root, 'cfg'), '');
  const lines = (config: string) => `runtime_type = "vm"\nruntime_path = "${shim}"\nruntime_config_path = "${config}"\n`;
  assert.ok(validate(table('kata', lines(join(root, 'cfg')))).config.runtime.runtimes.has('kata'));
  assert.match(
    warnings(validate(table('kata', lines('/none')))).join(),
    /invalid runtime_config_path for runtime 'kata': stat \/none: no such file or directory/,
  );
});

test('all annotations that the reference gates are allowed', () => {
  const names = [
    'cpu-c-states.crio.io',
    'devices.crio.io',
    'io.kubernetes.cri-o.Devices',
    'io.kubernetes.cri-o.ShmSize',
    'seccomp-profile.kubernetes.cri-o.io',
    'org.systemd.property.',
    'run.oci.',
    'io.containers.trace-syscall',
    'io.kubernetes.cri.rdt-class',
    'org.opencontainers.image.stopSignal',
  ];
  const result = validate(table('crun', `allowed_annotations = ${JSON.stringify(names)}\n`));
  assert.deepEqual(result.config.runtime.runtimes.get('crun')?.allowedAnnotations, names);
});

test('[B97, K9] a handler inherits path, type, configuration and root of the default one', () => {
  program('crun');
  const result = validate(
    table('heir', 'inherit_default_runtime = true\nruntime_path = "/none"\nruntime_root = "/r"\nno_sync_log = true\n'),
  );
  const heir = result.config.runtime.runtimes.get('heir');
  assert.deepEqual(
    [heir?.runtimePath, heir?.runtimeType, heir?.runtimeRoot, heir?.noSyncLog],
    [join(root, 'bin/crun'), 'oci', '/run/crun', true],
  );
  assert.ok(result.messages.some(({ text }) => text === 'Inheriting runtime configuration "heir" from "crun"'));
  assert.deepEqual(warnings(result), ['warning: NoSyncLog is enabled. This can lead to lost log data']);
});

test('[B107, K11] least memory: 12 MiB where it is unset or unreadable', () => {
  const memory = (lines: string) => validate(table('crun', lines)).config.runtime.runtimes.get('crun')?.containerMinMemory;
  assert.equal(memory('runtime_root = "/r"\n'), '12MiB');
  assert.equal(memory('container_min_memory = "1GiB"\n'), '1GiB');
  const bad = validate(table('crun', 'container_min_memory = "q"\n'));
  assert.equal(bad.config.runtime.runtimes.get('crun')?.containerMinMemory, '12MiB');
  assert.deepEqual(warnings(bad), [
    `error: Unable to set minimum container memory for runtime handler "crun": unable to set runtime memory to "q": invalid size: 'q'. Setting to 12582912 instead`,
  ]);
});

test('[B112, K12] create time-out: 240 where it is unset, at least 30', () => {
  const timeout = (lines: string) => validate(table('crun', lines)).config.runtime.runtimes.get('crun')?.containerCreateTimeout;
  assert.equal(timeout('runtime_root = "/r"\n'), 240);
  assert.equal(timeout('container_create_timeout = 31\n'), 31);
  assert.equal(timeout('container_create_timeout = 29\n'), 30);
  assert.match(
    warnings(validate(table('crun', 'container_create_timeout = 29\n'))).join(),
    /\(29 seconds\) is less than minimum \(30 seconds\)/,
  );
});

test('[K23] monitor_path: conmon of $PATH, or a file that is there', () => {
  assert.equal(validate().config.runtime.runtimes.get('crun')?.monitorPath, join(root, 'bin/conmon'));
  const prefix = 'validating runtime config: monitor fields translation: failed to translate monitor fields for runtime crun: ';
  assert.equal(
    refused(table('crun', 'monitor_path = "/none"\n')).message,
    `${prefix}invalid conmon path: stat /none: no such file or directory`,
  );
  rmSync(join(root, 'bin/conmon'));
  assert.equal(refused('').message, `${prefix}exec: "conmon": executable file not found in $PATH`);
});

test('[B102, K26, K27] monitor_cgroup: pod or a slice with systemd, pod or empty with cgroupfs', () => {
  const cgroup = (manager: string, value: string) =>
    validate(
      `[crio.runtime]\ncgroup_manager = "${manager}"\n${table('crun', `monitor_cgroup = "${value}"\n`)}`,
    ).config.runtime.runtimes.get('crun')?.monitorCgroup;
  assert.deepEqual([cgroup('systemd', ''), cgroup('systemd', 'pod'), cgroup('systemd', 'a.slice')], ['system.slice', 'pod', 'a.slice']);
  assert.deepEqual([cgroup('cgroupfs', ''), cgroup('cgroupfs', 'pod'), cgroup('cgroupfs', 'system.slice')], ['', 'pod', '']);
  assert.match(refused(table('crun', 'monitor_cgroup = "x"\n')).message, /conmon cgroup should be 'pod' or a systemd slice$/);
  assert.match(
    refused(`[crio.runtime]\ncgroup_manager = "cgroupfs"\n${table('crun', 'monitor_cgroup = "x"\n')}`).message,
    /cgroupfs manager conmon cgroup should be 'pod' or empty, but got: 'x'$/,
  );
});

test('[B68] cgroup manager', () => {
  for (const manager of ['systemd', 'cgroupfs'])
    assert.equal(validate(`[crio.runtime]\ncgroup_manager = "${manager}"\n`).config.runtime.cgroupManager, manager);
  assert.equal(
    refused('[crio.runtime]\ncgroup_manager = "x"\n').message,
    'validating runtime config: unable to update cgroup manager: invalid cgroup manager: x',
  );
});

test('additional devices have to be devices, below /dev in the container', () => {
  assert.doesNotThrow(() => validate('[crio.runtime]\nadditional_devices = ["/dev/null:/dev/x:r"]\n'));
  const cases: readonly (readonly [string, string])[] = [
    ['/dev/none', '/dev/none is not a valid device: lstat /dev/none: no such file or directory'],
    [`${root}/bin:/dev/x`, `${root}/bin is not a valid device: not a device node`],
    ['/dev/null:q', 'invalid device mode: q'],
    ['/dev/null:/tmp/x', 'invalid device mode: /tmp/x'],
    ['a:b:c:d', 'invalid device specification: a:b:c:d'],
  ];
  for (const [item, text] of cases)
    assert.equal(refused(`[crio.runtime]\nadditional_devices = ["${item}"]\n`).message, `validating runtime config: ${text}`);
});

test('[B126] without criu checkpoints are off, each outcome is told', () => {
  const outcome = (toml: string) => {
    const { config, messages } = validate(toml);
    return [config.checkpointRestore.containerLevelEnabled, messages.find(({ text }) => text.startsWith('Checkpoint'))?.text];
  };
  assert.deepEqual(outcome(''), ['none', 'Checkpoint/restore support disabled: CRIU binary not found in $PATH']);
  assert.deepEqual(outcome('[crio.checkpoint_restore]\ncontainer_level_enabled = "none"\n'), [
    'none',
    'Checkpoint/restore support disabled via configuration',
  ]);
  program('criu');
  assert.deepEqual(outcome(''), ['checkpoint_restore', 'Checkpoint/restore support enabled (level: "checkpoint_restore")']);
});

test('[B144, B145, H1] network directories are made; a file in their place is an error', () => {
  writeFileSync(join(root, 'file'), '');
  const prefix = 'validating network config: ';
  assert.equal(
    refused(`[crio.network]\nnetwork_dir = "${root}/file"\n`).message,
    `${prefix}invalid network_dir: ${root}/file: stat ${root}/file: not a directory`,
  );
  assert.equal(
    refused(`[crio.network]\nnetwork_dir = "${root}/file/x"\n`).message,
    `${prefix}cannot create network_dir: ${root}/file/x: mkdir ${root}/file/x: not a directory`,
  );
  assert.match(
    refused(`[crio.network]\nplugin_dirs = ["${root}/file/x"]\n`).message,
    /invalid plugin_dirs entry: mkdir .*: not a directory$/,
  );
  assert.equal(
    refused(`[crio.image]\nsignature_policy_dir = "${root}/file/x"\n`).message,
    `validating image config: cannot create signature policy dir: mkdir ${root}/file/x: not a directory`,
  );
});

test('[B146, H3] plugin_dir is put behind plugin_dirs', () => {
  const result = validate(`[crio.network]\nplugin_dir = "${root}/one"\n`);
  assert.deepEqual([result.config.network.pluginDirs, result.config.network.pluginDir], [[`${root}/plugins`, `${root}/one`], '']);
  assert.deepEqual(warnings(result), ['warning: The config field plugin_dir is being deprecated. Please use plugin_dirs instead']);
  assert.ok(existsSync(join(root, 'one')));
});

test('[B77, H25] namespaces_dir and its five sub-directories are made; a file in the place of one is removed', () => {
  mkdirSync(join(root, 'ns'));
  writeFileSync(join(root, 'ns/netns'), '');
  const { messages } = validate();
  assert.ok(messages.some(({ text }) => text === `Removed file ${root}/ns/netns to create directory in that path.`));
  assert.deepEqual(readdirSync(join(root, 'ns')).toSorted(), ['ipcns', 'netns', 'pidns', 'userns', 'utsns']);
  assert.ok(statSync(join(root, 'ns/netns')).isDirectory());
  writeFileSync(join(root, 'file'), '');
  assert.equal(
    refused(`[crio.runtime]\nnamespaces_dir = "${root}/file/x"\n`).message,
    `validating runtime config: initialize nsmgr: invalid namespaces_dir: mkdir ${root}/file/x: not a directory`,
  );
});

test('hooks directories: a file in the place of one is skipped with a warning', () => {
  writeFileSync(join(root, 'file'), '');
  const result = validate(`[crio.runtime]\nhooks_dir = ["${root}/file", "${root}/file/x", "${root}/made"]\n`);
  assert.deepEqual(result.config.runtime.hooksDir, [`${root}/made`]);
  assert.deepEqual(warnings(result), [`warning: Skipping invalid hooks directory: ${root}/file exists but is not a directory`]);
});
