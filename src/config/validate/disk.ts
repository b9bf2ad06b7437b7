/** The few questions that validation asks the machine; synchronous, once at start. */
import { accessSync, constants, lstatSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, textOf } from '../../errors/index.ts';
import { pathProblem } from '../files.ts';
import { missing } from './check.ts';

/** The program in $PATH, or given with a slash; undefined where there is no executable file of that name. */
export function lookPath(name: string, path: string | undefined): string | undefined {
  const candidates = name.includes('/')
    ? [name]
    : (path ?? '').split(':').flatMap((directory) => (directory === '' ? [] : [join(directory, name)]));
  return candidates.find(isExecutable);
}

/** Why `lookPath` found nothing, as Go says it. */
export function notInPath(name: string): string {
  return `exec: "${name}": executable file not found in $PATH`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Why a path cannot be used (`stat P: no such file or directory`), or undefined. */
export function statProblem(path: string): string | undefined {
  try {
    statSync(path);
    return undefined;
  } catch (error) {
    return pathProblem('stat', path, error);
  }
}

/** Why the path is no device node, or undefined. */
export function deviceProblem(path: string): string | undefined {
  try {
    const stat = lstatSync(path);
    return stat.isBlockDevice() || stat.isCharacterDevice() ? undefined : 'not a device node';
  } catch (error) {
    return pathProblem('lstat', path, error);
  }
}

/** Makes the directory and what is missing above it; Failure `<what>: mkdir P: …`. */
export function makeDirectory(path: string, mode: number, what: string, key: string): void {
  try {
    mkdirSync(path, { recursive: true, mode });
  } catch (error) {
    throw missing(
      `${what}: ${pathProblem('mkdir', path, error)}`,
      `Make ${path} a directory that the daemon may use, or change ${key}.`,
      error,
    );
  }
}

export function isDirectory(path: string): boolean | undefined {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory();
}

/** The directories below which namespaces are pinned; a file in the place of one is removed [B77]. */
export function makeNamespaceDirectories(directory: string): readonly string[] {
  makeDirectory(directory, 0o755, 'initialize nsmgr: invalid namespaces_dir', 'namespaces_dir');
  const removed: string[] = [];
  for (const name of ['netns', 'ipcns', 'utsns', 'userns', 'pidns']) {
    const path = join(directory, name);
    if (isDirectory(path) === false) {
      rmSync(path);
      removed.push(path);
    }
    makeDirectory(path, 0o755, 'initialize nsmgr: invalid namespaces sub-dir', 'namespaces_dir');
  }
  return removed;
}

/** Why a seccomp profile cannot be used, in CRI-O's words, or undefined [B111, K16]. */
export function seccompProblem(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return `open seccomp profile: ${pathProblem(codeOf(error) === 'EISDIR' ? 'read' : 'open', path, error)}`;
  }
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return `decoding seccomp profile failed: ${textOf(error)}`;
  }
}
