/** The facts that `crio version` tells [A175–A179]. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CRIO_VERSION } from '../version/index.ts';

export interface VersionFacts {
  readonly version: string;
  readonly gitCommit: string;
  readonly compiler: string;
  readonly platform: string;
  readonly linkmode: string;
  readonly seccompEnabled: boolean;
  readonly appArmorEnabled: boolean;
  readonly dependencies: readonly string[];
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm: 'arm',
  arm64: 'arm64',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
};

declare const __CRIO_BUNDLED__: boolean | undefined;
/** The checkout or installation: the bundle lies in node_modules/.cache/crio below it. */
const ROOT = join(import.meta.dirname, typeof __CRIO_BUNDLED__ === 'undefined' ? '../..' : '../../..');

/** Facts about this program and the kernel that it runs on; `verbose`: its libraries, too [A178]. */
export async function versionFacts(verbose = false): Promise<VersionFacts> {
  const [status, appArmor, commit] = await Promise.all([
    textOf('/proc/self/status'),
    textOf('/sys/module/apparmor/parameters/enabled'),
    commitOf(join(ROOT, '.git')),
  ]);
  return {
    version: CRIO_VERSION,
    gitCommit: commit,
    // CRI-O names the Go compiler here; a GoVersion we have not.
    compiler: `node ${process.versions.node}`,
    platform: `linux/${ARCHITECTURES[process.arch] ?? process.arch}`,
    linkmode: 'dynamic',
    seccompEnabled: /^Seccomp:/m.test(status),
    appArmorEnabled: appArmor.startsWith('Y'),
    dependencies: verbose ? await dependenciesOf(join(ROOT, 'package-lock.json')) : [],
  };
}

/** Keys padded so that their values stand in one column, two blanks behind the longest; empty ones left out [A176]. */
export function versionText(facts: VersionFacts): string {
  const rows: readonly (readonly [string, string])[] = [
    ['Version:', facts.version],
    ['GitCommit:', facts.gitCommit],
    ['Compiler:', facts.compiler],
    ['Platform:', facts.platform],
    ['Linkmode:', facts.linkmode],
    ['SeccompEnabled:', String(facts.seccompEnabled)],
    ['AppArmorEnabled:', String(facts.appArmorEnabled)],
  ];
  const width = Math.max(...rows.map(([key]) => key.length)) + 2;
  const block = rows.map(([key, value]) => `${key.padEnd(width)}${value}\n`).join('');
  if (facts.dependencies.length === 0) return block;
  return `${block}Dependencies:\n${facts.dependencies.map((dependency) => `  ${dependency}\n`).join('')}`;
}

/** One object, indented by two blanks, without a final newline; the booleans always stand in it [A177]. */
export function versionJson(facts: VersionFacts): string {
  const kept = Object.entries(facts).filter(([, value]) => value !== '' && !(Array.isArray(value) && value.length === 0));
  return JSON.stringify(Object.fromEntries(kept), undefined, 2);
}

/** The commit that a checkout stands at, read as git keeps it; `unknown` where there is none. */
async function commitOf(git: string): Promise<string> {
  const head = (await textOf(join(git, 'HEAD'))).trim();
  if (!head.startsWith('ref: ')) return head === '' ? 'unknown' : head;
  const ref = head.slice('ref: '.length);
  const loose = (await textOf(join(git, ref))).trim();
  if (loose !== '') return loose;
  const packed = (await textOf(join(git, 'packed-refs'))).split('\n').find((line) => line.endsWith(` ${ref}`));
  return packed?.split(' ')[0] ?? 'unknown';
}

/** `name version checksum` of everything that runs with us, from npm's lock file. */
async function dependenciesOf(lockFile: string): Promise<string[]> {
  const text = await textOf(lockFile);
  if (text === '') return [];
  const lock = JSON.parse(text) as {
    readonly packages?: Readonly<Record<string, { version?: string; integrity?: string; dev?: boolean }>>;
  };
  return Object.entries(lock.packages ?? {})
    .filter(([path, entry]) => path !== '' && entry.dev !== true)
    .map(
      ([path, entry]) => `${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)} ${entry.version} ${entry.integrity}`,
    );
}

async function textOf(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}
