import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { BUSYBOX, imageReference, useNode } from '../harness/node.ts';
import { crioProgram } from '../harness/tools.ts';

const node = useNode({ images: ['busybox'] });
const WEB = imageReference('web');

type Plain = Record<string, unknown>;

async function crio(command: string, stdin?: string): Promise<string> {
  return (await node.crio(command.split(' '), stdin === undefined ? {} : { stdin })).stdout.toString('utf8');
}

/** A command that must fail: its exit code and what it says. */
async function failing(command: string, stdin?: string): Promise<{ code: number | null; said: string; out: string }> {
  const result = await node.crio(command.split(' '), { mayFail: true, ...(stdin === undefined ? {} : { stdin }) });
  assert.notEqual(result.code, 0, `crio ${command} must fail`);
  return { code: result.code, said: result.stderr, out: result.stdout.toString('utf8') };
}

const shell = (script: string): string => JSON.stringify(['sh', '-c', script]);

function manifest(name: string, container: string, spec = ''): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {app: ${name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 2
  containers:
  - {name: main, image: "${BUSYBOX}", imagePullPolicy: IfNotPresent, ${container}}
${spec}`;
}

const stateDirs = (): string[] => (existsSync(node.path('/var/lib/crio/run-pods')) ? readdirSync(node.path('/var/lib/crio/run-pods')) : []);

test('a pod of a manifest runs to its end, its output and exit code are those of the command, and --rm leaves nothing', async () => {
  const script =
    'echo to stdout; echo to stderr >&2; echo $GREETING $NAME $(hostname) > /data/sub/file; cat /data/sub/file /also/file; test -n "$IP"; exit 7';
  const result = await node.crio(['run', '--rm', '-'], {
    mayFail: true,
    stdin: manifest(
      'once',
      `command: ${shell(script)}, env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: GREETING, value: "hello $(NAME)"}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}],
    volumeMounts: [{name: data, mountPath: /data}, {name: data, mountPath: /also, subPath: sub}]`,
      `  initContainers:
  - {name: prepare, image: "${BUSYBOX}", imagePullPolicy: Never, command: [mkdir, /data/sub], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, emptyDir: {}}]`,
    ),
  });
  assert.equal(result.stderr, 'to stderr\n');
  assert.equal(result.stdout.toString(), 'to stdout\nhello once once once\nhello once once once\n');
  assert.equal(result.code, 7);
  assert.deepEqual(stateDirs(), []);
});

test('a pod in the background is listed, looked into, and goes with stop and rm', async () => {
  const id = (
    await crio(
      'run -d -',
      manifest(
        'web',
        `command: ${shell('trap "exit 3" TERM; echo one; echo two; echo three; while :; do sleep 0.1; done')}, resources: {limits: {cpu: 500m, memory: 64Mi}}`,
        '  volumes: [{name: unused, emptyDir: {}}]',
      ),
    )
  ).trim();
  assert.match(id, /^[0-9a-f]{64}$/);
  assert.match(await crio('pods'), new RegExp(`^${id.slice(0, 13)}  shop +web +Ready +0 +`, 'm'));
  assert.match(await crio('ps'), /^[0-9a-f]{13} +shop +web +main +127\.0\.0\.1:5000\/busybox:latest +Running +0 +/m);
  assert.equal((await crio('ps -q --pod shop/web')).trim().length, 64);
  assert.equal(await crio('ps --label io.kubernetes.pod.name=other -q'), '');

  const pod = JSON.parse(await crio('inspect web')) as { status: Plain; info: Plain };
  assert.equal(pod.status['id'], id);
  assert.equal(pod.status['state'], 'SANDBOX_READY');
  assert.equal(typeof pod.info['info'], 'object');
  const container = JSON.parse(await crio('inspect shop/web/main')) as { status: Plain & { resources: { linux: Plain } } };
  assert.equal(container.status['state'], 'CONTAINER_RUNNING');
  assert.equal(container.status.resources.linux['cpuQuota'], '50000');
  assert.equal(container.status.resources.linux['memoryLimitInBytes'], '67108864');

  assert.equal(await crio('exec web cat /proc/1/comm'), 'sh\n');
  const code = await node.crio(['exec', 'web', 'sh', '-c', 'echo out; echo err >&2; exit 42'], { mayFail: true });
  assert.deepEqual([code.code, code.stdout.toString(), code.stderr], [42, 'out\n', 'err\n']);

  assert.equal(await crio('logs web'), 'one\ntwo\nthree\n');
  assert.equal(await crio('logs --tail 2 web/main'), 'two\nthree\n');
  assert.match(await crio('logs -n 1 -t web'), /^\d{4}-\d\d-\d\dT[0-9:.]+\S+ three\n$/);

  const refused = await failing('rm web');
  assert.match(refused.said, /pod shop\/web is running\nStop it first/);
  assert.equal(await crio('stop web'), `${id}\n`);
  assert.match(await crio('pods'), /NotReady/);
  assert.match(await crio('ps -a'), /Exited/);
  assert.equal((JSON.parse(await crio('inspect web/main')) as { status: Plain }).status['exitCode'], 3);
  assert.equal(stateDirs().length, 1);
  assert.equal(await crio('rm web'), `${id}\n`);
  assert.deepEqual(stateDirs(), []);
  assert.equal((await crio('pods -q')).trim(), '');
});

test('logs -f tells what comes, and ends with the container', async () => {
  await crio('run -d -', manifest('talker', `command: ${shell('echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last')}`));
  const child = node.machine.spawn([crioProgram, 'logs', '-f', 'talker'], ['ignore', 'pipe', 'inherit']);
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  while (text !== 'first\n') await delay(10);
  await crio('exec talker touch /go');
  await once(child, 'close');
  assert.equal(text, 'first\nlast\n');
  await crio('rm -f talker');
});

test('a pod that cannot start leaves nothing', async () => {
  const command = await failing('run -d -', manifest('broken', 'command: [/no/such/file]', '  volumes: [{name: data, emptyDir: {}}]'));
  assert.match(command.said, /container main: /);
  const init = await failing(
    'run -d -',
    manifest(
      'noinit',
      'command: [sleep, "99"]',
      `  initContainers: [{name: first, image: "${BUSYBOX}", imagePullPolicy: Never, command: ${shell('echo why; exit 4')}}]`,
    ),
  );
  assert.match(init.said, /init container first ended with exit code 4/);
  assert.equal(init.out, 'first | why\n');
  const image = await failing('run -d -', manifest('noimage', 'stdin: true').replace(BUSYBOX, '127.0.0.1:5000/missing:1'));
  assert.match(image.said, /missing:1/);
  const field = await failing('run -d -', manifest('probing', 'livenessProbe: {}'));
  assert.match(field.said, /spec\.containers\[0\]\.livenessProbe: not supported/);
  assert.deepEqual(stateDirs(), []);
  assert.equal(await crio('pods -q'), '');
});

test('Ctrl-C stops the pod and ends as its containers ended', async () => {
  node.write(
    '/etc/crio/pod.yaml',
    manifest('stopped', `command: ${shell('trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done')}`),
  );
  const child = node.machine.spawn([crioProgram, 'run', '--rm', '/etc/crio/pod.yaml'], ['ignore', 'pipe', 'inherit']);
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  while (!text.includes('up')) await delay(10);
  process.kill(node.machine.pidOf(child) ?? 0, 'SIGINT');
  const [code] = (await once(child, 'close')) as [number];
  assert.deepEqual([code, text], [5, 'up\nbye\n']);
});

test('images are pulled, listed, looked into and removed', async () => {
  const pulled = await node.crio(['pull', WEB]);
  assert.match(pulled.stdout.toString(), /^127\.0\.0\.1:5000\/web@sha256:[0-9a-f]{64} {2}\(id [0-9a-f]{13}, [0-9.]+MB, [0-9.]+m?s\)\n$/);
  assert.match(pulled.stderr, new RegExp(`^Pulling ${WEB}\n`));
  assert.match(await crio('images'), /^127\.0\.0\.1:5000\/web +latest +[0-9a-f]{13} +[0-9.]+MB/m);
  const image = JSON.parse(await crio(`inspect ${WEB}`)) as { status: Plain };
  assert.deepEqual(image.status['repoTags'], [WEB]);
  assert.match(await crio(`inspect -o yaml ${WEB}`), /^status:\n {2}id: /);
  const listed = JSON.parse(await crio(`images -o json ${WEB}`)) as { images: Plain[] };
  assert.equal(listed.images.length, 1);
  assert.match(await crio(`rmi ${WEB}`), /^127\.0\.0\.1:5000\/web:latest {2}[0-9a-f]{64}\n$/);
  assert.doesNotMatch(await crio('images'), /web/);
  assert.match((await failing(`rmi ${WEB}`)).said, /no image is called/);
  const missing = await failing('pull 127.0.0.1:5000/missing:1');
  assert.equal(missing.code, 1);
});

test('errors say what to do and end with 1, mistakes in typing with 2', async () => {
  const usage = await failing('ps --al');
  assert.deepEqual([usage.code, usage.said], [2, 'crio ps: unknown option --al\nDid you mean --all?\nSee crio ps --help.\n']);
  const absent = await failing('ps -s /run/none.sock');
  assert.deepEqual([absent.code, absent.said.split('\n')[0]], [1, 'crio: there is no socket /run/none.sock']);
  assert.match((await failing('logs nobody')).said, /no pod or container is called "nobody"/);
  const unknown = await failing('psx');
  assert.equal(unknown.code, 1);
  assert.match(unknown.said, /level=fatal msg="command \\"psx\\" not supported" advice="Did you mean crio ps\?"/);
});

test('two pods of one name in two namespaces are told apart', async () => {
  const one = (await crio('run -d -', manifest('twin', 'command: [sleep, "99"]'))).trim();
  const two = (await crio('run -d -', manifest('twin', 'command: [sleep, "99"]').replace('namespace: shop', 'namespace: farm'))).trim();
  const both = await failing('inspect twin');
  assert.match(both.said, /"twin" is ambiguous/);
  assert.ok(
    both.said.includes(`${one.slice(0, 13)}  pod        shop/twin`) && both.said.includes(`${two.slice(0, 13)}  pod        farm/twin`),
    both.said,
  );
  assert.equal(await crio('rm -f farm/twin'), `${two}\n`);
  assert.equal(await crio('rm -f twin'), `${one}\n`);
});

test('[A175 A176 A177] crio version', async () => {
  const text = await crio('version');
  assert.match(text, /^Version: {10}1\.37\.0\n/);
  assert.equal(
    new Set(
      text
        .trimEnd()
        .split('\n')
        .map((line) => /^\S+ +/.exec(line)?.[0].length),
    ).size,
    1,
  );
  const json = await crio('version --json');
  assert.ok(!json.endsWith('\n'));
  assert.equal((JSON.parse(json) as Plain)['seccompEnabled'], /^Seccomp:/m.test(readFileSync('/proc/self/status', 'utf8')));
});

test('[A15] crio --version', async () => {
  const lines = (await crio('--version')).split('\n');
  assert.equal(lines[0], 'crio version 1.37.0');
  assert.match(lines[1] ?? '', /^ {3}GitCommit: +/);
});

test('[A180 A181] crio config prints only what differs, --default everything', async () => {
  const active = (text: string): string[] => text.split('\n').filter((line) => /^[a-z_]+ *=/.test(line));
  assert.deepEqual(active((await node.crio(['-c', '', '-d', '', 'config'])).stdout.toString()), []);
  assert.ok(active(await crio('config')).includes('default_runtime = "runc"'));
  const all = active(await crio('config --default'));
  assert.ok(all.includes('default_runtime = "crun"') && all.length > 100, String(all.length));
});

test('[A14] help topics', async () => {
  assert.match(await crio('help pods'), /^List pods\.\n/);
  const unknown = await failing('help foo');
  assert.deepEqual([unknown.code, unknown.said], [3, "No help topic for 'foo'\n"]);
});

test('[A187 A189 A191 A192 A193] crio status asks the daemon', async () => {
  assert.match(await crio('status'), /^Ask the running daemon/);
  assert.match(await crio('status config'), /^\s*default_runtime = "runc"$/m);
  assert.equal(
    await crio('status --socket /run/crio/crio.sock info'),
    `cgroup driver: cgroupfs
storage driver: overlay
storage graph root: /var/lib/containers/storage
storage image: 
default GID mappings (format <container>:<host>:<size>):
  0:0:4294967295
default UID mappings (format <container>:<host>:<size>):
  0:0:4294967295
`,
  );
  await crio('run -d -', manifest('asked', 'command: [sleep, "99"]'));
  const id = (await crio('ps -q')).trim();
  const text = await crio(`status containers --id ${id}`);
  assert.match(text, /^name: k8s_main_asked_shop_.*\npid: [1-9]\d*\n/);
  assert.match(text, /^labels:\n(?: {2}.*\n)* {2}io\.kubernetes\.container\.name: main\n/m);
  assert.match(text, /^ips: 10\.85\.\d+\.\d+\n$/m);
  await crio('rm -f asked');
  assert.match((await failing(`status s -i ${id}`)).said, new RegExp(`can't find the container with id ${id}`));
  assert.match((await failing('status cs')).said, /the argument --id cannot be empty/);
  const absent = await failing('status -s /run/none.sock info');
  assert.ok(
    absent.said.includes(
      'do get request: Get \\"http://%2Frun%2Fnone.sock/info\\": dial unix /run/none.sock: connect: no such file or directory',
    ),
    absent.said,
  );
});

test('[A213 A214 A215 A217] crio complete and publish', async () => {
  const bash = await crio('complete');
  assert.match(bash, /^_cli_bash_autocomplete\(\) \{[^]*\ninspect\n[^]*--log-level[^]*complete -F _cli_bash_autocomplete crio\n$/);
  await node.machine.exec(['bash', '-n', '-c', bash]);
  assert.match(await crio('completion zsh'), /_describe[^]*compdef _cli_zsh_autocomplete crio/);
  assert.match(await crio('complete fish'), /^complete -c crio .*-a 'pull' -d 'Pull images'$/m);
  const other = await failing('complete tcsh');
  assert.deepEqual([other.code, /only bash, fish or zsh are supported/.test(other.said)], [1, true]);
  assert.equal(await crio('publish --topic /tasks/exit --namespace k8s.io'), '');
});
