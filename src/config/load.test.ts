import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../errors/index.ts';
import { type FileSource, diskFiles } from './files.ts';
import { type LoadedConfig, loadConfig } from './load.ts';

const MAIN = '/etc/crio/crio.conf';
const DIRECTORY = '/etc/crio/crio.conf.d';

/** Files by path; those below the drop-in directory are walked in the order of their names. */
function filesOf(contents: Record<string, string>): FileSource {
  return {
    read: (path) => contents[path],
    walk: (directory) =>
      Object.keys(contents)
        .filter((path) => path.startsWith(`${directory}/`))
        .toSorted(),
  };
}

function load(contents: Record<string, string>, args: readonly string[] = [], env: Record<string, string> = {}): LoadedConfig {
  return loadConfig({ args, env, files: filesOf(contents), selinux: false });
}

function failure(contents: Record<string, string>, args: readonly string[] = []): Failure {
  try {
    load(contents, args);
  } catch (error) {
    assert.ok(error instanceof Failure);
    return error;
  }
  assert.fail('was accepted');
}

test('[A2, B1] flag before variable before drop-in before main file before storage.conf before default', () => {
  const contents: Record<string, string> = {
    '/etc/containers/storage.conf': '[storage]\nrunroot = "/storage/run"\ngraphroot = "/storage/graph"\n',
    [MAIN]: '[crio]\nroot = "/main"\nlog_dir = "/main"\nversion_file = "/main"\n[crio.api]\nlisten = "/main"\nstream_port = "1"\n',
    [`${DIRECTORY}/10-a`]: '[crio]\nlog_dir = "/a"\nversion_file = "/a"\n[crio.api]\nlisten = "/a"\n',
    [`${DIRECTORY}/20-b.conf`]: '[crio]\nversion_file = "/b"\n[crio.api]\nlisten = "/b"\n',
  };
  const { config, sources } = load(contents, ['--listen', '/flag'], { CONTAINER_LISTEN: '/env', CONTAINER_VERSION_FILE: '/env' });
  assert.equal(config.api.listen, '/flag');
  assert.equal(config.crio.versionFile, '/env');
  assert.equal(config.crio.logDir, '/a');
  assert.equal(config.crio.root, '/main');
  assert.equal(config.crio.runroot, '/storage/run');
  assert.equal(config.crio.cleanShutdownFile, '/var/lib/crio/clean.shutdown');
  assert.equal(sources.get('crio.api.listen'), '--listen');
  assert.equal(sources.get('crio.version_file'), 'CONTAINER_VERSION_FILE');
  assert.equal(sources.get('crio.log_dir'), `${DIRECTORY}/10-a:2`);
  assert.equal(sources.get('crio.api.stream_port'), `${MAIN}:7`);
  assert.equal(sources.has('crio.runroot'), false);
});

test("what is read is told in CRI-O's words", () => {
  const { notices } = load({ [MAIN]: '', [`${DIRECTORY}/10-a.conf`]: '' });
  assert.deepEqual(notices, [
    `Updating config from single file: ${MAIN}`,
    `Updating config from drop-in file: ${MAIN}`,
    `Updating config from path: ${DIRECTORY}`,
    `Updating config from drop-in file: ${DIRECTORY}/10-a.conf`,
  ]);
});

test('[A17, A18] a missing main file is an error only where its path was given', () => {
  assert.ok(load({}).notices.includes(`Skipping not-existing config file "${MAIN}"`));
  const text =
    'get and merge config from context: update config from file: update config from drop-in file: open /x: no such file or directory';
  const given = failure({}, ['--config', '/x']);
  assert.equal(given.message, text);
  assert.match(given.advice ?? '', /--config/);
  assert.throws(() => load({}, [], { CONTAINER_CONFIG: '/x' }), { message: text });
});

test('[A19, A50, A51] an empty path turns the main file or the drop-ins off; other paths are read instead', () => {
  const contents = {
    [MAIN]: '[crio.api]\nlisten = "/main"',
    [`${DIRECTORY}/a`]: '[crio]\nlog_dir = "/a"',
    '/my/conf': '[crio.api]\nlisten = "/my"',
    '/d/x': '[crio]\nlog_dir = "/x"',
  };
  const without = load(contents, ['-c', '', '-d', '']);
  assert.deepEqual(
    [without.config.api.listen, without.config.crio.logDir, without.notices],
    ['/var/run/crio/crio.sock', '/var/log/crio/pods', []],
  );
  const other = load(contents, ['--config=/my/conf'], { CONTAINER_CONFIG_DIR: '/d' }).config;
  assert.deepEqual([other.api.listen, other.crio.logDir], ['/my', '/x']);
  assert.equal(load({}, ['--config-dir', '/missing']).config.api.listen, '/var/run/crio/crio.sock');
});

test('[B2] every file below the drop-in directory counts, in lexical order, whatever its suffix', () => {
  const root = mkdtempSync(join(tmpdir(), 'crio-config-'));
  try {
    const write = (name: string, value: string) => writeFileSync(join(root, name), `[crio]\nlog_dir = "${value}"\n`);
    for (const directory of ['20-dir', '90-empty']) mkdirSync(join(root, directory));
    write('10-first.conf', '/1');
    write('20-dir/inner~', '/2');
    write('15-between', '/15');
    symlinkSync(join(root, '10-first.conf'), join(root, '05-link'));
    symlinkSync(root, join(root, '30-loop'));
    const loaded = loadConfig({ args: ['-c', '', '-d', root], env: {}, files: diskFiles, selinux: false });
    const read = loaded.notices.flatMap((notice) =>
      notice.includes('drop-in') ? [notice.slice(notice.indexOf(root) + root.length + 1)] : [],
    );
    assert.deepEqual(read, ['05-link', '10-first.conf', '15-between', '20-dir/inner~']);
    assert.equal(loaded.config.crio.logDir, '/2');
    writeFileSync(join(root, '40-latin1'), Buffer.from([0x23, 0xff]));
    assert.throws(
      () => loadConfig({ args: ['-c', '', '-d', root], env: {}, selinux: false }),
      /update config from path: walk path: .*40-latin1.*UTF-8/,
    );
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('[B3, B4, J3, J4] arrays are replaced, storage options add up and keep the last of duplicates, the flag replaces them', () => {
  const contents = {
    '/etc/containers/storage.conf': '[storage]\ndriver = "overlay"\n[storage.options.overlay]\nmountopt = "nodev"\n',
    [MAIN]: '[crio]\nstorage_option = ["overlay.size=1G", "overlay.mountopt=nodev"]\n[crio.runtime]\nhooks_dir = ["/a", "/b"]\n',
    [`${DIRECTORY}/1`]: '[crio]\nstorage_option = ["overlay.inodes=5", "overlay.size=1G"]\n[crio.runtime]\nhooks_dir = ["/c"]\n',
  };
  const { config } = load(contents);
  assert.deepEqual(config.crio.storageOption, ['overlay.mountopt=nodev', 'overlay.inodes=5', 'overlay.size=1G']);
  assert.deepEqual(config.runtime.hooksDir, ['/c']);
  assert.deepEqual(load(contents, ['--storage-opt', 'a=b']).config.crio.storageOption, ['a=b']);
});

test('[B5, J2] empty root, runroot and storage_driver keep what was said before', () => {
  const contents = {
    '/etc/containers/storage.conf': '[storage]\ndriver = "overlay"\nrunroot = "/r"\n',
    [MAIN]: '[crio]\nroot = "/main"\nrunroot = ""\nstorage_driver = ""\nlog_dir = ""\n',
    [`${DIRECTORY}/1`]: '[crio]\nroot = ""\n',
  };
  const { root, runroot, storageDriver, logDir } = load(contents).config.crio;
  assert.deepEqual([root, runroot, storageDriver, logDir], ['/main', '/r', 'overlay', '']);
});

test('[B6] a named table replaces an earlier one as a whole, the built-in one too; other names stay', () => {
  const { config } = load({
    [MAIN]: '[crio.runtime.runtimes.crun]\nruntime_path = "/x/crun"\n[crio.runtime.runtimes.a]\nruntime_path = "/a"\nmonitor_path = "/m"\n',
    [`${DIRECTORY}/1`]: '[crio.runtime.runtimes.a]\nruntime_root = "/r"\n[crio.runtime.runtimes.b]\n',
  });
  const crun = config.runtime.runtimes.get('crun');
  assert.deepEqual(
    [crun?.runtimePath, crun?.runtimeType, crun?.containerMinMemory, crun?.monitorEnv, crun?.allowedAnnotations],
    ['/x/crun', '', '', [], []],
  );
  const a = config.runtime.runtimes.get('a');
  assert.deepEqual([a?.runtimePath, a?.monitorPath, a?.runtimeRoot], ['', '', '/r']);
  assert.deepEqual([...config.runtime.runtimes.keys()], ['crun', 'a', 'b']);
});

test('[B91, K2] without any file there is one handler, crun', () => {
  const { runtimes } = load({}).config.runtime;
  assert.deepEqual([...runtimes.keys()], ['crun']);
  const { runtimeType, runtimeRoot, containerCreateTimeout, allowedAnnotations, monitorEnv, containerMinMemory, monitorCgroup } =
    runtimes.get('crun') ?? assert.fail();
  assert.deepEqual(
    { runtimeType, runtimeRoot, containerCreateTimeout, allowedAnnotations, monitorEnv, containerMinMemory, monitorCgroup },
    {
      runtimeType: 'oci',
      runtimeRoot: '/run/crun',
      containerCreateTimeout: 240,
      allowedAnnotations: ['io.containers.trace-syscall', 'devices.crio.io'],
      monitorEnv: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      containerMinMemory: '500KiB',
      monitorCgroup: 'system.slice',
    },
  );
});

test('[B7] names match whatever their case, the exact one wins; unknown ones never stop the start', () => {
  const { config, warnings } = load({ [MAIN]: '[CRIO.Api]\nlisten = "/exact"\nLISTEN = "/upper"\nStream_Port = "7"\n[other]\nx = 1\n' });
  assert.equal(config.api.listen, '/exact');
  assert.equal(config.api.streamPort, '7');
  assert.equal(warnings.length, 1);
});

test('an unknown key costs one warning with file, line and the nearest name', () => {
  const { warnings } = load({
    [MAIN]: [
      '[crio]',
      'log_level = "debug"',
      '[crio.api]',
      'listn = "/x"',
      '[crio.runtime.runtimes.x]',
      'runtime_pat = "/x"',
      '[crio.nework]',
      'a = 1',
      'b = 2',
      '[zzzzzz]',
    ].join('\n'),
  });
  assert.deepEqual(
    warnings,
    [
      `${MAIN}:2: unknown configuration key crio.log_level is ignored; did you mean crio.runtime.log_level?`,
      `${MAIN}:7: unknown configuration key crio.nework is ignored; did you mean network?`,
      `${MAIN}:4: unknown configuration key crio.api.listn is ignored; did you mean listen?`,
      `${MAIN}:6: unknown configuration key crio.runtime.runtimes.x.runtime_pat is ignored; did you mean runtime_path?`,
      `${MAIN}:10: unknown configuration key zzzzzz is ignored`,
    ].toSorted((a, b) => warnings.indexOf(a) - warnings.indexOf(b)),
  );
});

test('[B8] a wrong type stops the start, with file, line, key, what was expected and found, and what to do', () => {
  const text = '\n[crio.runtime]\nenable_pod_events = "true"\n';
  const bad = failure({ [`${DIRECTORY}/00-x`]: text });
  assert.equal(bad.kind, 'InvalidArgument');
  assert.equal(
    bad.message,
    `get and merge config from context: update config from path: walk path: unable to decode configuration ${DIRECTORY}/00-x: toml: line 3 (last key "crio.runtime.enable_pod_events"): incompatible types: TOML value has type string; destination has type boolean`,
  );
  assert.equal(bad.advice, `Line 3 of ${DIRECTORY}/00-x: crio.runtime.enable_pod_events has to be true or false, without quotes.`);
  const cases: readonly (readonly [string, RegExp])[] = [
    ['[crio]\nroot = 5', /TOML value has type int64; destination has type string$/],
    ['[crio]\nstorage_option = "x"', /TOML value has type string; destination has type slice$/],
    ['[crio]\nstorage_option = ["x", 1]', /TOML value has type int64; destination has type string$/],
    ['[crio.runtime]\npids_limit = 1.5', /TOML value has type float64; destination has type integer$/],
    ['[crio.image]\npull_progress_timeout = "x"', /invalid duration: "x"$/],
    ['[crio]\napi = 1', /type mismatch for crio.api: expected table but found int64$/],
    ['crio = "x"', /type mismatch for crio: expected table but found string$/],
    ['[[crio.api]]\nlisten = "/x"', /expected table but found \[\]any$/],
    ['[crio.runtime.runtimes]\nx = 1', /type mismatch for crio.runtime.runtimes.x: expected table/],
    ['[crio.runtime.workloads.w.resources]\ncpushares = -1', /-1 is out of range for uint64$/],
    ['[crio\nroot = 1', /toml: line 1: /],
    ['[crio]\nroot = "a"\nroot = "b"', /toml: line 3: /],
  ];
  for (const [toml, pattern] of cases) assert.match(failure({ [MAIN]: toml }).message, pattern);
});

test('[B9] a duration in a file is a text or nanoseconds', () => {
  const { image, network } = load({
    [MAIN]: '[crio.image]\npull_progress_timeout = "10s"\n[crio.network]\ncni_status_grace_period = 10000000000\n',
  }).config;
  assert.deepEqual([image.pullProgressTimeout, network.cniStatusGracePeriod], [10_000, 10_000]);
});

test('[B11, J1, A28] storage.conf: the variable, then XDG, then /etc, then /usr/share; only one counts', () => {
  const conf = (root: string) => `[storage]\ngraphroot = "${root}"\n`;
  const all = {
    '/named': conf('/1'),
    '/home/containers/storage.conf': conf('/2'),
    '/etc/containers/storage.conf': conf('/3'),
    '/usr/share/containers/storage.conf': '[storage]\nrunroot = "/4"\n',
  };
  const rootWith = (env: Record<string, string>, contents: Record<string, string> = all) => load(contents, [], env).config.crio.root;
  assert.equal(rootWith({ CONTAINERS_STORAGE_CONF: '/named', XDG_CONFIG_HOME: '/home' }), '/1');
  assert.equal(rootWith({ XDG_CONFIG_HOME: '/home' }), '/2');
  assert.equal(rootWith({}), '/3');
  assert.equal(load(all).config.crio.runroot, '/run/containers/storage', 'the second file is not read');
  assert.equal(rootWith({}, {}), '/var/lib/containers/storage');
});

test('[J5] STORAGE_DRIVER and STORAGE_OPTS go before storage.conf', () => {
  const contents = { '/etc/containers/storage.conf': '[storage]\ndriver = "vfs"\n[storage.options]\nmountopt = "nodev"\n' };
  const { storageDriver, storageOption } = load(contents, [], { STORAGE_DRIVER: 'overlay2', STORAGE_OPTS: 'a=1,b=2' }).config.crio;
  assert.deepEqual([storageDriver, storageOption], ['overlay', ['a=1', 'b=2']]);
});

test('[J8] options of storage.conf become options of the driver, its own table first', () => {
  const toml =
    '[storage.options]\nadditionalimagestores = ["/s"]\nmountopt = "a"\nsize = "1G"\n[storage.options.overlay]\nmountopt = "b"\n';
  assert.deepEqual(load({ '/etc/containers/storage.conf': toml }).config.crio.storageOption, [
    'overlay.imagestore=/s',
    'overlay.size=1G',
    'overlay.mountopt=b',
  ]);
});

test('[J8] keys of storage.conf that nothing honours yet are told, as far as they ask for something', () => {
  const toml = `[storage]\ngraphroot = "/g"\nrunroot = "/r"\nimagestore = "/i"\ndriver = "overlay2"\ntransient_store = true
[storage.options]\ndisable-volatile = "false"\nauto-userns-min-size = 1024
[storage.options.pull_options]\nenable_partial_images = "false"\n`;
  const { config, unhonoured } = load({ '/etc/containers/storage.conf': toml });
  const { root, runroot, imagestore, storageDriver } = config.crio;
  assert.deepEqual([root, runroot, imagestore, storageDriver], ['/g', '/r', '/i', 'overlay']);
  const source = '/etc/containers/storage.conf';
  assert.deepEqual(unhonoured, [
    { key: 'storage.transient_store', source },
    { key: 'storage.options.auto-userns-min-size', source },
  ]);
});

test('[J39] pull_options of storage.conf are strings, off by default, and no options of the driver', () => {
  const loaded = (options: string) => load({ '/etc/containers/storage.conf': `[storage.options]\npull_options = {${options}}\n` }).config;
  const all = 'enable_partial_images = "True", use_hard_links = "true", convert_images = "true", ostree_repos = ""';
  assert.deepEqual(loaded(all).pullOptions, { partialImages: true, hardLinks: true });
  assert.deepEqual(loaded(all).crio.storageOption, []);
  assert.deepEqual(loaded('enable_partial_images = "yes", use_hard_links = "1"').pullOptions, { partialImages: false, hardLinks: false });
  assert.throws(() => loaded('enable_partial_images = true'), /pull_options.enable_partial_images is no string$/);
  assert.deepEqual(load({}).config.pullOptions, { partialImages: false, hardLinks: false });
});

test('[A169] --runtimes replaces whole handlers; 3 to 7 fields', () => {
  const { runtimes } = load({}, ['--runtimes', 'crun:/c:/rc,vm:/p:/r:vm:true:/cfg:1GiB']).config.runtime;
  const crun = runtimes.get('crun');
  assert.deepEqual(
    [crun?.runtimePath, crun?.runtimeRoot, crun?.runtimeType, crun?.monitorEnv, crun?.containerMinMemory],
    ['/c', '/rc', 'oci', [], ''],
  );
  const vm = runtimes.get('vm');
  assert.deepEqual(
    [vm?.runtimeType, vm?.privilegedWithoutHostDevices, vm?.runtimeConfigPath, vm?.containerMinMemory],
    ['vm', true, '/cfg', '1GiB'],
  );
  assert.equal(failure({}, ['--runtimes', 'x:y']).message, 'get and merge config from context: invalid format for --runtimes: "x:y"');
  assert.match(
    failure({}, ['--runtimes', 'a:b:c:oci:false::x']).message,
    /invalid value "x" for --runtimes:container_min_memory: invalid size: 'x'$/,
  );
});

test('keys that nothing honours yet are named with their place, once', () => {
  const { unhonoured } = load(
    {
      [MAIN]: '[crio.runtime]\nblockio_reload = true\nlog_level = "debug"\n[crio.runtime.runtimes.x]\nruntime_pull_image = true\n',
      [`${DIRECTORY}/1`]: '[crio.runtime]\nblockio_reload = false\n',
    },
    ['--nri-listen', '/x'],
  );
  assert.deepEqual(unhonoured, [
    { key: 'crio.runtime.blockio_reload', source: `${DIRECTORY}/1:2` },
    { key: 'crio.runtime.runtimes.x.runtime_pull_image', source: `${MAIN}:5` },
    { key: 'crio.nri.nri_listen', source: '--nri-listen' },
  ]);
});

test('the misspelt variable works, warns and wins', () => {
  const env = { CONTAINER_INCLUDED_POD_METRCIS: 'cpu', CONTAINER_INCLUDED_POD_METRICS: 'all' };
  const { config, warnings } = load({}, [], env);
  assert.deepEqual(config.stats.includedPodMetrics, ['cpu']);
  assert.deepEqual(warnings, [
    'CONTAINER_INCLUDED_POD_METRCIS (typo) will be ineffective in future releases. Use CONTAINER_INCLUDED_POD_METRICS instead.',
  ]);
});

test('names of objects are names like others in named tables and maps', () => {
  const toml =
    '[crio.runtime.runtimes.__proto__]\nruntime_path = "/x"\ndefault_annotations = { __proto__ = "p", constructor = "c" }\n[__proto__]\nx = 1\n[crio.constructor]\ny = 2\n';
  const { config, warnings } = load({ [MAIN]: toml });
  assert.deepEqual(
    [...(config.runtime.runtimes.get('__proto__')?.defaultAnnotations ?? [])],
    [
      ['__proto__', 'p'],
      ['constructor', 'c'],
    ],
  );
  assert.equal(warnings.length, 2);
  assert.equal('x' in {}, false);
});

test('whatever a file holds, it loads or is a Failure', () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '[crio]',
      '[crio.runtime]',
      '[crio.runtime.runtimes.x]',
      '[crio.runtime.workloads.w.resources]',
      '[[crio]]',
      'log_level = "x"',
      'root = 5',
      'a.b = { c = [1, 2',
      ']}',
      '"""',
      'cpushares = 9',
    ),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), (text) => {
      try {
        load({ [MAIN]: text.join('\n') });
      } catch (error) {
        assert.ok(error instanceof Failure, String(error));
        assert.equal(error.kind, 'InvalidArgument');
      }
    }),
    { numRuns: 500 },
  );
});
