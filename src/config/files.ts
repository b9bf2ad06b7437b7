/** Where configuration text comes from. Read once at start and at each reload, so plain synchronous calls do. */
import { type Dirent, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, codeOf, textOf } from '../errors/index.ts';

export interface FileSource {
  /** The text of a file; undefined where there is none. Failure where it cannot be read or is not UTF-8. */
  read(path: string): string | undefined;
  /** Paths of all files below a directory in lexical order, sub-directories included; none where it is missing [B2]. */
  walk(directory: string): readonly string[];
}

export const diskFiles: FileSource = {
  read(path) {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw unreadable('open', path, error);
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (error) {
      throw new Failure('InvalidArgument', `unable to decode configuration ${path}: toml: invalid UTF-8`, {
        advice: `Save ${path} as UTF-8.`,
        cause: error,
      });
    }
  },
  walk(directory) {
    let entries: Dirent[];
    try {
      entries = readdirSync(directory, { withFileTypes: true });
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw unreadable('open', directory, error);
    }
    const names = entries.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    return names.flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return diskFiles.walk(path);
      return entry.isFile() || (entry.isSymbolicLink() && leadsToFile(path)) ? [path] : [];
    });
  },
};

function leadsToFile(link: string): boolean {
  return statSync(link, { throwIfNoEntry: false })?.isFile() ?? false;
}

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EISDIR: 'is a directory',
  ENOTDIR: 'not a directory',
  EEXIST: 'file exists',
  EROFS: 'read-only file system',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
};

/** `open P: permission denied`: what CRI-O says of a path that it cannot use. */
export function pathProblem(operation: string, path: string, error: unknown): string {
  const code = codeOf(error) ?? '';
  return `${operation} ${path}: ${Object.hasOwn(ERRNO_TEXTS, code) ? ERRNO_TEXTS[code] : textOf(error)}`;
}

function unreadable(operation: string, path: string, error: unknown): Failure {
  const code = codeOf(error);
  return new Failure('FailedPrecondition', pathProblem(operation, path, error), {
    advice: `Make ${path} readable for the daemon.`,
    cause: error,
    ...(code === undefined ? {} : { code }),
  });
}
