// The images of the tests, made once a machine: `node images.ts DIR NAME…` makes them, `imageStorage` sees to it.
import { createCipheriv, createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { runOk } from '../../src/process/index.ts';
import { type ImageSource, RegistryStorage } from './registry-storage.ts';
import { cacheDir, projectRoot, toolPath, unpackedTool } from './tools.ts';

/**
 * - busybox: Debian's dynamic busybox with its libraries and a link for each applet; users root, nobody, app (1000)
 * - pause: what `pause_command` runs, `/pause`: waits, reaps, ends at SIGTERM, also as process 1
 * - catatonit: a static pause of 1 MB, for what is compared with other runtimes (unpacked by `install.sh bench`)
 * - web: busybox' httpd on port 8080, answers `hello from web`
 * - layers: five layers, 80 MB and four times 8 MB, for benchmarks of pulls
 * - apart-0 … apart-7: a layer of 16 MB each, for pulls at the same time
 * - huge: eight layers of 256 MB
 * - debian: a minimal Debian root (made by mmdebstrap: slow the first time)
 */
export type ImageName = keyof typeof RECIPES;

const BUILD_TIMEOUT_MS = 10 * 60_000;

/**
 * A docker-registry's storage directory that holds these images as `NAME:latest`. Shared by all tests of this machine
 * and of this version of the recipes: serve it read-only (`startRegistry` does). Two callers at once make an image once.
 */
export async function imageStorage(names: readonly ImageName[]): Promise<string> {
  const sources = ['images.ts', 'registry-storage.ts'].map((name) => readFileSync(join(import.meta.dirname, name)));
  const version = createHash('sha256').update(Buffer.concat(sources)).digest('hex').slice(0, 16);
  const storage = new RegistryStorage(join(cacheDir, `images-${version}`));
  const missing = names.filter((name) => !storage.hasTag(name, 'latest'));
  if (missing.length > 0) {
    mkdirSync(storage.dir, { recursive: true });
    const make = ['sh', join(projectRoot, 'scripts/node.sh'), import.meta.filename, storage.dir, ...missing];
    await runOk(['flock', join(storage.dir, 'lock'), ...make], { timeoutMs: BUILD_TIMEOUT_MS, env: environment() });
  }
  return storage.dir;
}

/** A tar of a directory's contents, owned by root, the same bytes for the same contents. */
export async function tarOf(dir: string): Promise<Buffer> {
  const plain = ['--format=gnu', '--sort=name', '--mtime=@1767323045', '--owner=0', '--group=0', '--numeric-owner'];
  return (await runOk(['tar', ...plain, '-C', dir, '-c', '.'], { timeoutMs: BUILD_TIMEOUT_MS, maxOutput: 2 ** 31, env: environment() }))
    .stdout;
}

/** A layer of small files, by their path; a path that ends in a slash is a directory. */
export async function layerOf(files: Readonly<Record<string, string | Uint8Array>>): Promise<Buffer> {
  return await inTemporary(async (dir) => {
    for (const [path, contents] of Object.entries(files)) {
      mkdirSync(join(dir, path.endsWith('/') ? path : dirname(path)), { recursive: true });
      if (!path.endsWith('/')) writeFileSync(join(dir, path), contents);
    }
    return await tarOf(dir);
  });
}

export const APART = ['apart-0', 'apart-1', 'apart-2', 'apart-3', 'apart-4', 'apart-5', 'apart-6', 'apart-7'] as const;
const apart = (n: number) => async () => ({ layers: [{ tar: await bulk(100 + n, 16) }] });

const RECIPES = {
  busybox: async () => ({ layers: [{ tar: await busyboxLayer() }], config: { Cmd: ['sh'], Env: [PATH] } }),
  pause: async () => ({
    layers: [{ tar: await busyboxLayer() }, { tar: await scriptLayer('pause', PAUSE) }],
    config: { Entrypoint: ['/pause'], Env: [PATH] },
  }),
  catatonit: async () => ({
    layers: [{ tar: await scriptLayer('catatonit', readFileSync(unpackedTool('usr/bin/catatonit'))) }],
    config: { Entrypoint: ['/catatonit', '-P'] },
  }),
  web: async () => ({
    layers: [{ tar: await busyboxLayer() }, { tar: await layerOf({ 'www/index.html': 'hello from web\n' }) }],
    config: { Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'], Env: [PATH], ExposedPorts: { '8080/tcp': {} } },
  }),
  layers: async () => ({
    layers: await Promise.all([80, 8, 8, 8, 8].map(async (megabytes, index) => ({ tar: await bulk(index, megabytes) }))),
  }),
  'apart-0': apart(0),
  'apart-1': apart(1),
  'apart-2': apart(2),
  'apart-3': apart(3),
  'apart-4': apart(4),
  'apart-5': apart(5),
  'apart-6': apart(6),
  'apart-7': apart(7),
  huge: async () => {
    const layers = [];
    for (let n = 0; n < 8; n++) layers.push({ tar: await bulk(200 + n, 256) });
    return { layers };
  },
  debian: async () => ({ layers: [{ tar: await debianLayer() }], config: { Cmd: ['bash'], Env: [PATH] } }),
} satisfies Record<string, () => Promise<ImageSource>>;

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** `wait` ends at once when a trapped signal comes, and reaps whatever became a child of process 1. */
const PAUSE = `#!/bin/sh
trap 'exit 0' TERM INT
while :; do sleep 86400 & wait $!; done
`;

export async function busyboxLayer(): Promise<Buffer> {
  return await inTemporary(async (dir) => {
    const busybox = unpackedTool('bin/busybox'); // The machine's own may be the static one, which has no libraries to bring.
    if (!existsSync(busybox)) throw new Error('busybox is missing: run scripts/install.sh test');
    const libraries = (await runOk(['ldd', busybox], { timeoutMs: 30_000, env: environment() })).stdout.toString('utf8');
    for (const path of [busybox, ...libraries.matchAll(/(\/\S+) \(0x/g)].map((match) =>
      typeof match === 'string' ? match : (match[1] ?? ''),
    )) {
      const target = join(dir, path === busybox ? '/bin/busybox' : path);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(path, target);
      chmodSync(target, 0o755);
    }
    const applets = (await runOk([busybox, '--list'], { timeoutMs: 30_000, env: environment() })).stdout
      .toString('utf8')
      .trim()
      .split('\n');
    for (const applet of applets) if (applet !== 'busybox') symlinkSync('busybox', join(dir, 'bin', applet));
    for (const name of ['dev', 'etc', 'home/app', 'proc', 'root', 'run', 'sys', 'usr/bin', 'var', 'tmp'])
      mkdirSync(join(dir, name), { recursive: true });
    chmodSync(join(dir, 'tmp'), 0o1777);
    symlinkSync('../../bin/env', join(dir, 'usr/bin/env'));
    writeFileSync(
      join(dir, 'etc/passwd'),
      'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\napp:x:1000:1000:app:/home/app:/bin/sh\n',
    );
    writeFileSync(join(dir, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\napp:x:1000:\nextra:x:2000:app\n');
    return await tarOf(dir);
  });
}

async function scriptLayer(name: string, text: string | Uint8Array): Promise<Buffer> {
  return await inTemporary(async (dir) => {
    writeFileSync(join(dir, name), text);
    chmodSync(join(dir, name), 0o755);
    return await tarOf(dir);
  });
}

/** Files of 100 kB, two thirds of them incompressible: programs and libraries are about like that. */
async function bulk(seed: number, megabytes: number): Promise<Buffer> {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  return await inTemporary(async (dir) => {
    for (let index = 0; index < megabytes * 10; index++) {
      const folder = join(dir, `data-${seed}`, String(index % 32));
      mkdirSync(folder, { recursive: true });
      const contents = Buffer.concat([noise.update(Buffer.alloc(66_000)), Buffer.alloc(34_000, `file ${index} of layer ${seed}\n`)]);
      writeFileSync(join(folder, `file-${index}`), contents);
    }
    return await tarOf(dir);
  });
}

async function debianLayer(): Promise<Buffer> {
  const bootstrap = ['mmdebstrap', '--variant=minbase', '--aptopt=Acquire::Languages "none"', 'bookworm', '-'] as const;
  return (await runOk(bootstrap, { timeoutMs: BUILD_TIMEOUT_MS, maxOutput: 2 ** 31, env: environment() })).stdout;
}

async function inTemporary<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'crio-image-'));
  try {
    chmodSync(dir, 0o755);
    return await work(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function environment(): Record<string, string> {
  const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].flatMap((name): [string, string][] => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return {
    PATH: toolPath,
    LC_ALL: 'C',
    ...Object.fromEntries(proxies),
    ...(process.env['CRIO_TEST_CACHE'] === undefined ? {} : { CRIO_TEST_CACHE: cacheDir }),
  };
}

function isImageName(name: string): name is ImageName {
  return Object.hasOwn(RECIPES, name);
}

if (import.meta.main) {
  const [dir, ...names] = process.argv.slice(2);
  const storage = new RegistryStorage(dir ?? '');
  for (const name of names.filter(isImageName)) {
    if (!storage.hasTag(name, 'latest')) storage.putImage(name, 'latest', await RECIPES[name]());
  }
}
