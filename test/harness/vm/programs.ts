import { copyFileSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '../../../src/process/index.ts';
import { toolPath } from '../tools.ts';

/** Puts programs of the host, and the libraries that they are linked with, into a tree, by their path inside. */
export async function programsInto(tree: string, programs: Readonly<Record<string, string>>): Promise<void> {
  for (const [inside, program] of Object.entries(programs)) copyInto(tree, inside, program);
  // Of a program that is linked statically it says so, and fails.
  const listed = await run(['ldd', ...Object.values(programs)], { timeoutMs: 60_000, env: { PATH: toolPath, LC_ALL: 'C' } });
  const libraries = new Set([...listed.stdout.toString('utf8').matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? ''));
  for (const library of libraries) copyInto(tree, library, library);
}

function copyInto(tree: string, inside: string, from: string): void {
  const target = join(tree, inside);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(realpathSync(from), target);
  if ((statSync(target).mode & 0o111) === 0 && inside.includes('/bin/')) throw new Error(`${from} is no program`);
}
