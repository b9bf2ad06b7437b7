import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { readHostFacts } from '../../src/oci/host/index.ts';
import { imageMount, lookupUser, prepareEmptyDirectory, readAccounts, resolveMounts, writeUserFiles } from '../../src/oci/rootfs/index.ts';
import { type ContainerSpecInput, buildContainerSpec, encodeSpec } from '../../src/oci/spec/index.ts';
import { CAPABILITIES, defaultSeccompProfile } from '../../src/security/index.ts';
import { openRoot } from '../../src/linux/index.ts';
import { silentLogger } from '../../src/log/index.ts';
import { type RunResult, run, runOk } from '../../src/process/index.ts';
import { UndoStack } from '../../src/sync/index.ts';
import { removeCgroups } from '../harness/cgroups.ts';
import {
  DEFAULT_CAPABILITIES,
  containerConfig,
  containerInput,
  resources,
  sandboxFacts,
  securityContext,
} from '../fixtures/spec-inputs.ts';

/** Specs of ours, run by the real runc and crun on a busybox, and what the container then sees of itself. */
const host = readHostFacts();
const runtimeDefault = { reference: 'RuntimeDefault', profile: defaultSeccompProfile() };
const MASK = (names: readonly string[]) =>
  names
    .reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(`CAP_${name}`))), 0n)
    .toString(16)
    .padStart(16, '0');

let dir = '';
let rootfs = '';
let count = 0;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'crio-spec-'));
  rootfs = join(dir, 'rootfs');
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  for (const sub of ['etc', 'proc', 'sys', 'dev', 'tmp', 'run', 'host']) mkdirSync(join(rootfs, sub));
  const busybox = (await runOk(['which', 'busybox'], { timeoutMs: 5000 })).stdout.toString().trim();
  const libraries = (await run(['ldd', busybox], { timeoutMs: 5000 })).stdout.toString();
  for (const path of [busybox, ...[...libraries.matchAll(/(\/\S+) \(0x/g)].map((m) => m[1] ?? '')]) {
    mkdirSync(join(rootfs, path, '..'), { recursive: true });
    copyFileSync(path, join(rootfs, path));
  }
  if (busybox !== '/bin/busybox') symlinkSync(busybox, join(rootfs, 'bin/busybox'));
  for (const applet of ['sh', 'cat', 'id', 'pwd', 'env', 'mknod', 'dd', 'unshare', 'chroot', 'ls', 'umask', 'touch', 'rm'])
    symlinkSync('busybox', join(rootfs, 'bin', applet));
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/:/bin/sh\n');
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\napp:x:1001:\nextra:x:44:app\n');
  for (const name of ['resolv.conf', 'hostname', '.containerenv']) writeFileSync(join(dir, name), '');
  mkdirSync(join(dir, 'shm'));
});

after(async () => {
  rmSync(dir, { recursive: true, force: true });
  await removeCgroups(`/${basename(dir)}`); // crun 1.8.1 leaves those of v1.
});

/** Builds the spec, runs `script` in it and answers what it printed. The namespaces are those of `unshare`. */
async function inContainer(runtime: string, script: string, over: Partial<ContainerSpecInput> = {}): Promise<RunResult> {
  const id = `${basename(dir)}-${runtime}-${count++}`;
  const bundle = join(dir, id);
  mkdirSync(bundle);
  const { spec } = buildContainerSpec(
    containerInput({
      id,
      rootfs,
      cgroupsPath: `/${basename(dir)}/${id}`,
      sandbox: sandboxFacts({
        namespaces: { network: undefined, ipc: undefined, uts: undefined, user: undefined },
        privileged: true,
        resolvPath: join(dir, 'resolv.conf'),
        hostnamePath: join(dir, 'hostname'),
        containerEnvPath: join(dir, '.containerenv'),
        shmPath: join(dir, 'shm'),
      }),
      host,
      ...over,
      config: { ...(over.config ?? containerConfig()), command: ['/bin/sh', '-c', script] },
      runtime: {
        idmapMounts: false,
        recursiveReadOnly: false,
        unsafeAnnotations: [],
        ociVersionMax: runtime === 'runc' ? '1.0.2-dev' : undefined,
      },
    }),
  );
  delete spec.hostname; // The namespace is not the pod's here.
  writeFileSync(join(bundle, 'config.json'), encodeSpec(spec));
  const own = ['unshare', '--mount', '--propagation', 'private', '--ipc', '--net', '--uts', '--'] as const;
  const umount = 'if grep -q " /sys/fs/cgroup/unified cgroup2 " /proc/mounts; then umount /sys/fs/cgroup/unified; fi; exec "$@"';
  const command = [runtime, '--root', join(dir, `${runtime}-root`), 'run', '--bundle', bundle, id];
  return await run([...own, 'sh', '-c', umount, 'sh', ...command], { timeoutMs: 30_000 });
}

async function printed(runtime: string, script: string, over: Partial<ContainerSpecInput> = {}): Promise<string> {
  const result = await inContainer(runtime, script, over);
  assert.equal(result.code, 0, result.stderr);
  return result.stdout.toString();
}

function status(text: string, field: string): string | undefined {
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1];
}

for (const runtime of ['runc', 'crun']) {
  describe(runtime, () => {
    test('[F46 F48 G18 G20 a13] an ordinary container has the default capabilities, a seccomp filter, no new privileges', async () => {
      const config = containerConfig({
        linux: {
          resources: resources({ oomScoreAdj: 500n, memoryLimitInBytes: 64n << 20n }),
          securityContext: securityContext({ noNewPrivs: true }),
        },
      });
      const text = await printed(runtime, 'cat /proc/self/status /proc/self/oom_score_adj', { config, seccomp: runtimeDefault });
      const wanted = MASK(DEFAULT_CAPABILITIES);
      assert.deepEqual([status(text, 'CapBnd'), status(text, 'CapEff'), status(text, 'CapPrm')], [wanted, wanted, wanted]);
      assert.deepEqual([status(text, 'CapInh'), status(text, 'CapAmb')], ['0'.repeat(16), '0'.repeat(16)]);
      assert.deepEqual([status(text, 'Seccomp'), status(text, 'NoNewPrivs')], ['2', '1']);
      assert.equal(text.trim().split('\n').at(-1), '500');
    });

    test('[F43 G22 G67] a privileged container has all that we may grant, and no filter', async () => {
      const config = containerConfig({ linux: { securityContext: securityContext({ privileged: true }) } });
      const text = await printed(runtime, 'cat /proc/self/status', { config });
      const granted = MASK(CAPABILITIES.filter((cap) => host.boundingSet.has(cap)).map((cap) => cap.slice(4)));
      assert.deepEqual([status(text, 'CapBnd'), status(text, 'CapEff'), status(text, 'CapAmb')], [granted, granted, granted]);
      assert.equal(status(text, 'Seccomp'), '0');
    });

    test('[F47 G63 G65] ALL dropped leaves nothing, with the whole profile for an empty set', async () => {
      const capabilities = { addCapabilities: [], dropCapabilities: ['ALL'], addAmbientCapabilities: [] };
      const config = containerConfig({ linux: { securityContext: securityContext({ capabilities }) } });
      const text = await printed(runtime, 'cat /proc/self/status', { config, seccomp: runtimeDefault });
      assert.deepEqual([status(text, 'CapBnd'), status(text, 'CapEff')], ['0'.repeat(16), '0'.repeat(16)]);
      assert.equal(status(text, 'Seccomp'), '2');
    });

    test('[F47 G14] ALL added, the profile for a full set: namespaces can be made', async () => {
      const capabilities = { addCapabilities: ['all'], dropCapabilities: ['NET_RAW'], addAmbientCapabilities: [] };
      const config = containerConfig({ linux: { securityContext: securityContext({ capabilities }) } });
      const text = await printed(runtime, 'unshare -u cat /proc/self/status', {
        config,
        seccomp: runtimeDefault,
      });
      const names = CAPABILITIES.filter((cap) => host.boundingSet.has(cap) && cap !== 'CAP_NET_RAW').map((cap) => cap.slice(4));
      assert.equal(status(text, 'CapBnd'), MASK(names));
    });

    test('[G15 G16 a17] without CAP_SYS_ADMIN no namespace is made, user namespaces neither', async () => {
      for (const kind of ['-U', '-u', '-n', '-m']) {
        const result = await inContainer(runtime, `unshare ${kind} cat /dev/null`, { seccomp: runtimeDefault });
        assert.notEqual(result.code, 0, kind);
        assert.match(result.stderr, /unshare.*(Function not implemented|Operation not permitted)/);
      }
    });

    test('[F20 F21 F22 F23 F24 F26 F27 a31] the process has the ids asked for, and a line in passwd', async () => {
      const security = securityContext({ runAsUser: { value: 4242n }, runAsGroup: { value: 4343n }, supplementalGroups: [7n] });
      using root = openRoot(rootfs);
      const accounts = readAccounts(root.fd);
      const user = lookupUser(accounts, '4242', security);
      const runDir = mkdtempSync(join(dir, 'rdir'));
      const env = ['HOME=/tmp'];
      const userFiles = await writeUserFiles({
        rootFd: root.fd,
        runDir,
        accounts,
        user,
        userText: '4242',
        env,
        mounted: new Set(),
        idMappings: undefined,
      });
      const config = containerConfig({ linux: { securityContext: security } });
      const text = await printed(runtime, 'id -u; id -g; id -G; cat /etc/passwd /etc/group', { config, user, userFiles });
      assert.deepEqual(text.trim().split('\n'), [
        '4242',
        '4343',
        '4343 7',
        'root:x:0:0:root:/root:/bin/sh',
        'app:x:1000:1001:app:/:/bin/sh',
        '4242:x:4242:4343:4242 user:/tmp:/sbin/nologin',
        'root:x:0:',
        'app:x:1001:',
        'extra:x:44:app',
        '4343:x:4343:',
      ]);
    });

    test('[F9 F11 F16 F18] environment, working directory, umask', async () => {
      const config = containerConfig({
        workingDir: '/tmp',
        envs: [
          { key: 'A', value: Buffer.from('b=c\nd') },
          { key: 'PATH', value: Buffer.from('/bin') },
        ],
      });
      const sandbox = containerInput().sandbox;
      const text = await printed(runtime, 'pwd; umask; echo "$A|$PATH|$TERM|$HOSTNAME"', {
        config,
        sandbox: {
          ...sandbox,
          annotations: new Map([['umask.crio.io', '27']]),
          namespaces: { network: undefined, ipc: undefined, uts: undefined, user: undefined },
          resolvPath: '',
          hostnamePath: '',
          containerEnvPath: '',
          shmPath: join(dir, 'shm'),
        },
      });
      assert.deepEqual(text.trim().split('\n'), ['/tmp', '0027', 'b=c', 'd|/bin|xterm|pod']);
    });

    test('[F49 F50 F52 F66 G72 G73 a05 a16 a55] read-only root and cgroups, masked and read-only paths', async () => {
      const security = securityContext({ readonlyRootfs: true, maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'] });
      const config = containerConfig({ linux: { securityContext: security } });
      const script = [
        'cat /proc/timer_list /proc/keys /proc/interrupts /proc/kcore 2>/dev/null | dd bs=1 2>/dev/null | cat -e',
        'ls -A /sys/firmware',
        'touch /x 2>/dev/null && echo root is writable',
        'for c in /sys/fs/cgroup/memory /sys/fs/cgroup/devices /sys/fs/cgroup/system.slice; do',
        '  echo 1 2>/dev/null > $c/cgroup.procs && echo $c is writable',
        'done',
        'touch /proc/sys/kernel/domainname 2>/dev/null && echo sysctls are writable',
        'echo end',
      ].join('\n');
      assert.equal(await printed(runtime, script, { config }), 'end\n');
    });

    test('[G76 a15] host devices cannot be made and opened', async () => {
      const text = await printed(
        runtime,
        'mknod /tmp/m c 1 1 2>/dev/null && dd if=/tmp/m bs=1 count=1 of=/dev/null 2>/dev/null && echo memory; mknod /tmp/k c 1 11 2>/dev/null && dd if=/tmp/k bs=1 count=1 of=/dev/null 2>/dev/null && echo kmsg; ls /dev; rm -f /tmp/m /tmp/k',
        {
          config: containerConfig({
            linux: {
              securityContext: securityContext({
                capabilities: { addCapabilities: ['MKNOD'], dropCapabilities: [], addAmbientCapabilities: [] },
              }),
            },
          }),
        },
      );
      const names = text
        .split('\n')
        .filter((name) => name !== '' && name !== 'core')
        .toSorted(); // A link to /proc/kcore.
      const usual = ['fd', 'full', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero'];
      assert.deepEqual(names, usual);
    });

    test('[F91 F93] an image as a volume can be read, and not written', async () => {
      const image = mkdtempSync(join(dir, 'image'));
      writeFileSync(join(image, 'model'), 'weights\n');
      const images = [imageMount('/host/image', image, await prepareEmptyDirectory(mkdtempSync(join(dir, 'empty'))))];
      const mounts = { binds: [], images, rootfsPropagation: undefined, volumes: [] };
      const text = await printed(runtime, 'cat /host/image/model; touch /host/image/x 2>/dev/null && echo writable; echo end', { mounts });
      assert.equal(text, 'weights\nend\n');
    });

    test('[F75 F76 F77 F79 F88] CRI mounts, through a link, of a missing source, read-only', async () => {
      mkdirSync(join(dir, `data-${runtime}`));
      writeFileSync(join(dir, `data-${runtime}`, 'file'), 'content\n');
      symlinkSync(join(dir, `data-${runtime}`), join(dir, `link-${runtime}`));
      const mount = {
        readonly: true,
        selinuxRelabel: false,
        propagation: 0,
        uidMappings: [],
        gidMappings: [],
        recursiveReadOnly: false,
        imageSubPath: '',
      };
      const undo = new UndoStack(silentLogger);
      const mounts = await resolveMounts({
        mounts: [
          { ...mount, containerPath: '/host/made', hostPath: join(dir, `made-${runtime}`, 'below'), readonly: false },
          { ...mount, containerPath: '/data', hostPath: join(dir, `link-${runtime}`) },
        ],
        prefix: '',
        rejectedIfAbsent: [],
        storageRoot: '/var/lib/containers/storage',
        runtime: { idmapMounts: false, recursiveReadOnly: false, unsafeAnnotations: [] },
        makeMissing: true,
        resolveImage: () => assert.fail(),
        undo,
      });
      const text = await printed(
        runtime,
        'cat /data/file; touch /data/x 2>/dev/null && echo writable; touch /host/made/x && ls /host/made',
        { mounts },
      );
      assert.equal(text, 'content\nx\n');
    });
  });
}

test('[F92 a52] a sub path of an image is opened inside it, bound, and gone after the undo', async () => {
  const image = mkdtempSync(join(dir, 'image'));
  mkdirSync(join(image, 'models/small'), { recursive: true });
  writeFileSync(join(image, 'models/small/weights'), 'w\n');
  symlinkSync('/models/small', join(image, 'link'));
  symlinkSync('/etc', join(image, 'host'));
  const rootfsUrl = new URL('../../src/oci/rootfs/index.ts', import.meta.url).href;
  const code = `
    import { mountImageSubPath } from '${rootfsUrl}';
    import { readFileSync, readdirSync } from 'node:fs';
    const steps = [];
    const undo = { push: (name, step) => steps.push(step) };
    const o = { imageMount: process.argv[1], runDir: process.argv[2], reference: 'quay.io/x', undo };
    const { path, isDirectory } = await mountImageSubPath({ ...o, subPath: 'link' });
    const file = await mountImageSubPath({ ...o, subPath: '../models/small/weights' });
    console.log(readFileSync(path + '/weights', 'utf8').trim(), isDirectory, readFileSync(file.path, 'utf8').trim(), file.isDirectory);
    for (const subPath of ['none', 'host'])
      await mountImageSubPath({ ...o, subPath }).catch((error) => console.log(error.message));
    for (const step of steps.reverse()) await step();
    console.log(readdirSync(process.argv[2]).length);
  `;
  const runDir = mkdtempSync(join(dir, 'rdir'));
  const program = [process.execPath, '--input-type=module', '-e', code, image, runDir];
  const result = await runOk(['unshare', '--mount', '--propagation', 'private', '--', ...program], { timeoutMs: 20_000 });
  assert.deepEqual(result.stdout.toString().trim().split('\n'), [
    'w true w false',
    'sub path "none" does not exist in image volume "quay.io/x"',
    'sub path "host" does not exist in image volume "quay.io/x"',
    '0',
  ]);
});
