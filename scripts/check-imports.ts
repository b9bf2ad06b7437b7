// check-imports.ts: which folder of src/ may import which. Part of `npm run check`.
// Reads every module itself, so that what it saw can be counted against git's own list of them.
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { dirname, posix } from 'node:path';
import { argv, exit } from 'node:process';
import { fileURLToPath } from 'node:url';

/** Rooms that every other room may use; they use each other only. */
const LEAVES = ['clock', 'config', 'errors', 'files', 'ids', 'log', 'process', 'steps', 'streams', 'sync', 'version', 'workers'];
const BELOW_CONTAINERS = ['images', 'network', 'oci', 'resources', 'security', 'storage', 'linux'];

/** What each room may import beside the leaves: the one direction of docs/architecture.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  cli: ['daemon', 'wire', 'storage'],
  daemon: ['server', 'pods', 'containers', ...BELOW_CONTAINERS],
  server: ['pods', 'containers', ...BELOW_CONTAINERS, 'wire'],
  pods: ['containers', ...BELOW_CONTAINERS],
  containers: BELOW_CONTAINERS,
  images: ['storage', 'linux'],
  network: ['linux'],
  // A spec says what security decided.
  oci: ['security', 'linux'],
  resources: ['linux'],
  security: ['linux'],
  storage: ['linux'],
  linux: [],
  wire: [],
  ...Object.fromEntries(LEAVES.map((leaf) => [leaf, leaf === 'process' || leaf === 'steps' ? ['linux'] : []])),
};

/** Packages and built-in modules that one room owns. */
const OWNED: Readonly<Record<string, { readonly room: string; readonly why: string }>> = {
  koffi: { room: 'linux', why: 'one door to the kernel: a wrong signature crashes the daemon, so all of them stand in one folder' },
  'node:child_process': { room: 'process', why: 'every helper has a deadline, one waiter and an end: src/process gives it them' },
  child_process: { room: 'process', why: 'every helper has a deadline, one waiter and an end: src/process gives it them' },
};

export interface Violation {
  readonly file: string;
  readonly rule: 'direction' | 'face' | 'owner' | 'outside' | 'cycle' | 'unknown room' | 'missing';
  readonly what: string;
}

interface Import {
  readonly specifier: string;
  /** `import type`: gone at run time, so it closes no cycle. */
  readonly typeOnly: boolean;
}

const STATEMENT = /(?:^|\n)[ \t]*(?:import|export)\b(\s+type\b)?(?:[^'"`;]*?\bfrom)?\s*['"]([^'"\n]+)['"]/g;
const DYNAMIC = /\bimport\(\s*['"]([^'"\n]+)['"]/g;

function importsOf(text: string): Import[] {
  const imports: Import[] = [];
  for (const match of text.matchAll(STATEMENT)) imports.push({ specifier: match[2] ?? '', typeOnly: match[1] !== undefined });
  for (const match of text.matchAll(DYNAMIC)) imports.push({ specifier: match[1] ?? '', typeOnly: false });
  return imports;
}

/** Judges modules given as path (`src/pods/run.ts`) to source text. Tests beside their source may import anything. */
export function checkImports(modules: ReadonlyMap<string, string>): Violation[] {
  const violations: Violation[] = [];
  const runtimeEdges = new Map<string, string[]>();
  for (const [file, text] of modules) {
    if (file.endsWith('.test.ts')) continue;
    const edges: string[] = [];
    runtimeEdges.set(file, edges);
    for (const { specifier, typeOnly } of importsOf(text)) {
      const target = specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : undefined;
      const problem = target === undefined ? foreign(file, specifier) : inside(file, target, modules);
      if (problem !== undefined) violations.push(problem);
      if (target !== undefined && !typeOnly) edges.push(target);
    }
  }
  return [...violations, ...cycles(runtimeEdges)];
}

function foreign(file: string, specifier: string): Violation | undefined {
  const owned = Object.hasOwn(OWNED, specifier) ? OWNED[specifier] : undefined;
  if (owned === undefined || roomOf(file) === owned.room) return undefined;
  return { file, rule: 'owner', what: `imports ${specifier}; only src/${owned.room} does: ${owned.why}` };
}

function inside(file: string, target: string, modules: ReadonlyMap<string, string>): Violation | undefined {
  if (!target.startsWith('src/'))
    return { file, rule: 'outside', what: `imports ${target}: the program is src/ alone, the rest stays at home` };
  if (!modules.has(target)) return { file, rule: 'missing', what: `imports ${target}, which is not there` };
  const from = roomOf(file);
  const to = roomOf(target);
  const allowed = Object.hasOwn(MAY_IMPORT, from) ? MAY_IMPORT[from] : undefined;
  if (allowed === undefined)
    return { file, rule: 'unknown room', what: `src/${from} has no place in the house: give it one in scripts/check-imports.ts` };
  if (from !== to && !allowed.includes(to) && !LEAVES.includes(to)) {
    const may = [...allowed, 'the leaves'].join(', ');
    return {
      file,
      rule: 'direction',
      what: `imports ${target}: ${from} may use ${may}; against the stream nothing can be understood alone`,
    };
  }
  const folder = posix.dirname(target);
  const isFace = posix.basename(target) === 'index.ts';
  const stranger = file !== folder && !file.startsWith(`${folder}/`);
  if (stranger && !isFace && (from !== to || modules.has(`${folder}/index.ts`))) {
    return { file, rule: 'face', what: `imports ${target}: from outside, a folder is its index.ts, so that the rest can change` };
  }
  return undefined;
}

function roomOf(file: string): string {
  return file.split('/')[1] ?? '';
}

/** Each run-time cycle once, told from its alphabetically first module on. */
function cycles(edges: ReadonlyMap<string, readonly string[]>): Violation[] {
  const found = new Map<string, Violation>();
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    const at = path.indexOf(file);
    if (at >= 0) {
      const loop = path.slice(at);
      const first = loop.indexOf(loop.toSorted((a, b) => a.localeCompare(b))[0] ?? file);
      const told = [...loop.slice(first), ...loop.slice(0, first)];
      found.set(told.join(), {
        file: told[0] ?? file,
        rule: 'cycle',
        what: `${[...told, told[0]].join(' -> ')}: whoever loads first sees holes`,
      });
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const next of edges.get(file) ?? []) visit(next);
    path.pop();
    done.add(file);
  };
  for (const file of edges.keys()) visit(file);
  return [...found.values()];
}

function main(): number {
  const root = argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url)));
  const files = globSync('src/**/*.ts', { cwd: root }).toSorted((a, b) => a.localeCompare(b));
  const modules = new Map(files.map((file) => [file, readFileSync(`${root}/${file}`, 'utf8')]));
  const known = execFileSync('git', ['ls-files', 'src/**/*.ts'], { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean);
  const unseen = known.filter((file) => !modules.has(file));
  for (const file of unseen) console.error(`${file}: git knows it, this check did not see it`);
  const violations = checkImports(modules);
  for (const { file, rule, what } of violations) console.error(`${file}: ${rule}: ${what}`);
  if (violations.length + unseen.length > 0) return 1;
  console.log(`imports: ${modules.size} modules, each in its direction`);
  return 0;
}

if (import.meta.main) exit(main());
