import { chmod, copyFile, lchown, lstat, mkdir, readFile, readdir, readlink, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf, textOf } from '../../errors/index.ts';
import type { Owner } from '../../linux/index.ts';
import { type OciMount, cleanPath } from '../spec/index.ts';

const FILES = ['/etc/containers/mounts.conf', '/usr/share/containers/mounts.conf'] as const;

export interface SubscriptionsRequest {
  /** `default_mounts_file`: alone if it is set and exists [F97]. */
  readonly defaultMountsFile: string;
  readonly runDir: string;
  /** The mapped root. */
  readonly owner: Owner | undefined;
}

/**
 * Host directories and files of mounts.conf, copied to `<runDir>/<path in the container>` once and bound there
 * [F97, F98]; typical target /run/secrets. Nothing in here fails a container: problems are answered as warnings.
 */
export async function prepareSubscriptions(request: SubscriptionsRequest): Promise<{ mounts: OciMount[]; warnings: string[] }> {
  const mounts: OciMount[] = [];
  const warnings: string[] = [];
  const lines = await mountLines(request.defaultMountsFile, warnings);
  for (const line of lines) {
    const { source, destination } = line;
    const copy = join(request.runDir, destination);
    try {
      if ((await kindOf(source)) === undefined) {
        warnings.push(`Path ${source} from mounts.conf does not exist, skipping it`);
        continue;
      }
      if ((await kindOf(copy)) === undefined) {
        await mkdir(dirname(copy), { recursive: true, mode: 0o755 });
        await copyTree(source, copy, request.owner);
      }
      mounts.push({ destination, type: 'bind', source: copy, options: ['bind', 'rprivate'] });
    } catch (error) {
      warnings.push(`Mounting subscription ${source} failed: ${textOf(error)}`);
    }
  }
  return { mounts, warnings };
}

interface Line {
  readonly source: string;
  readonly destination: string;
}

async function mountLines(defaultFile: string, warnings: string[]): Promise<Line[]> {
  const files = defaultFile !== '' && (await kindOf(defaultFile)) !== undefined ? [defaultFile] : FILES;
  for (const file of files) {
    try {
      return parseMountsConf(await readFile(file, 'utf8'), file, warnings);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') warnings.push(`Reading ${file} failed: ${textOf(error)}`);
    }
  }
  return [];
}

/** Lines `host[:container]`; both must be clean absolute paths. */
export function parseMountsConf(text: string, file: string, warnings: string[]): Line[] {
  const lines: Line[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    if (!line.startsWith('/')) continue;
    const [source = '', destination = source, ...more] = line.split(':');
    if (more.length > 0 || !destination.startsWith('/') || cleanPath(destination) === '/')
      warnings.push(`Line ${JSON.stringify(line)} of ${file} is not host[:container], skipping it`);
    else lines.push({ source: cleanPath(source), destination: cleanPath(destination) });
  }
  return lines;
}

async function kindOf(path: string): Promise<'directory' | 'file' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'file';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Directories, regular files and links, with their modes; a link given by name is followed, one inside is copied. */
async function copyTree(source: string, target: string, owner: Owner | undefined): Promise<void> {
  const info = await stat(source);
  await (info.isDirectory() ? mkdir(target) : copyFile(source, target));
  if (info.isDirectory())
    for (const name of await readdir(source)) {
      const [from, to] = [join(source, name), join(target, name)];
      const entry = await lstat(from);
      if (entry.isSymbolicLink()) {
        await symlink(await readlink(from), to);
        if (owner !== undefined) await lchown(to, owner.uid, owner.gid);
      } else if (entry.isDirectory() || entry.isFile()) await copyTree(from, to, owner);
    }
  if (owner !== undefined) await lchown(target, owner.uid, owner.gid);
  await chmod(target, info.mode & 0o7777);
}
