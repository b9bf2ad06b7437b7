// Bundles the program and its workers into node_modules/.cache/crio, one file per entry.
// The directory is built aside and renamed, so that a running start never sees half a bundle.
import { build } from 'esbuild';
import { globSync, mkdirSync, mkdtempSync, renameSync, rmSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'node_modules/.cache/crio');
mkdirSync(out, { recursive: true });
const staging = mkdtempSync(join(dirname(out), 'crio-'));
const workers = globSync('src/**/*.worker.ts', { cwd: root });
const entries = { main: join(root, 'src/cli/main.ts') };
for (const file of workers) entries[basename(file, '.ts')] = join(root, file);

// An ES import of node:http reads every export once, among them the getters of WebSocket and its like, and so loads
// undici: 15 MB of memory and 60 ms at every start (Node 26). Taken as an object, its members are read when used.
const lazyHttp = {
  name: 'lazy-http',
  setup(build) {
    build.onResolve({ filter: /^node:http$/ }, () => ({ path: 'node:http', namespace: 'lazy-http' }));
    build.onLoad({ filter: /.*/, namespace: 'lazy-http' }, () => ({ contents: "module.exports = process.getBuiltinModule('node:http');" }));
  },
};
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
try {
  await build({
    entryPoints: entries,
    outdir: staging,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunk-[hash]',
    external: ['koffi'],
    plugins: [lazyHttp],
    minifySyntax: true,
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'error',
    define: { __CRIO_BUNDLED__: 'true', __CRIO_VERSION__: JSON.stringify(version) },
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
  });
  // Chunks first, entries last: whoever starts meanwhile finds either the old program or the whole new one.
  const files = readdirSync(staging).sort(
    (a, b) =>
      Number(b.startsWith('chunk-')) - Number(a.startsWith('chunk-')) || Number(a.startsWith('main')) - Number(b.startsWith('main')),
  );
  for (const file of files) renameSync(join(staging, file), join(out, file));
  // Chunks of older bundles may still be wanted by a daemon that runs; after a day nobody is that old.
  const yesterday = Date.now() - 24 * 60 * 60 * 1000;
  for (const file of readdirSync(out)) {
    if (file.startsWith('chunk-') && !files.includes(file) && statSync(join(out, file)).mtimeMs < yesterday) rmSync(join(out, file));
  }
} finally {
  rmSync(staging, { recursive: true, force: true });
}
