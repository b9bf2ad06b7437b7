import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { codeOf } from '../../errors/index.ts';
import { lowerOf } from '../mount-plan.ts';
import { isLinkName } from '../names.ts';

/**
 * Why the layer in `directory` could not be mounted, or would show another root than its record says: `below` is the directory of
 * the layer that it stands upon, undefined where there is none to compare with. Undefined where nothing speaks against it; what is
 * wrong with `below` is not said here. Lost links in `l/` are made again at a mount.
 */
export function damageOf(directory: string, below: string | undefined): string | undefined {
  if (statSync(join(directory, 'diff'), { throwIfNoEntry: false })?.isDirectory() !== true) return 'layer is missing';
  const link = textIn(join(directory, 'link'));
  if (link === undefined || !isLinkName(link)) return 'its link file is missing or broken';
  const led = linkTarget(join(dirname(directory), 'l', link));
  if (led !== undefined && led !== join(directory, 'diff')) return `its link ${link} leads to another layer`;
  const parentLink = below === undefined ? undefined : textIn(join(below, 'link'));
  if (below === undefined || parentLink === undefined) return undefined;
  const lower = textIn(join(directory, 'lower'));
  if (lower === undefined) return 'its lower file is missing or broken';
  if (lower === lowerOf({ link: parentLink, lower: textIn(join(below, 'lower')) })) return undefined;
  return 'its lower file does not name its parent and what that stands upon';
}

/** Where a link of `l/` leads; undefined where there is none. */
function linkTarget(path: string): string | undefined {
  try {
    return resolve(dirname(path), readlinkSync(path));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) === 'EINVAL') return path;
    throw error;
  }
}

function textIn(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
