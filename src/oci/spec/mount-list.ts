import { posix } from 'node:path';
import type { OciMount } from './types.ts';

/** Mounts in the order the runtime makes them; adding one to a taken destination moves it to the end [F63]. */
export class MountList {
  #mounts: OciMount[] = [];

  constructor(mounts: readonly OciMount[] = []) {
    for (const mount of mounts) this.add(mount);
  }

  add(mount: OciMount): void {
    this.#mounts = this.#mounts.filter((other) => other.destination !== mount.destination);
    this.#mounts.push(copyOf(mount));
  }

  addAll(mounts: readonly OciMount[]): void {
    for (const mount of mounts) this.add(mount);
  }

  has(destination: string): boolean {
    return this.#mounts.some((mount) => mount.destination === destination);
  }

  remove(destination: string): void {
    this.#mounts = this.#mounts.filter((mount) => mount.destination !== destination);
  }

  /** For privileged containers: `rw` instead of `ro` on everything present so far [F44, G69]. */
  makeWritable(): void {
    for (const mount of this.#mounts) {
      const options = mount.options ?? [];
      if (!options.includes('rw')) mount.options = [...options.filter((option) => option !== 'ro' && option !== 'rro'), 'rw'];
    }
  }

  toArray(): OciMount[] {
    return this.#mounts.map(copyOf);
  }
}

function copyOf(mount: OciMount): OciMount {
  return { ...mount, ...(mount.options === undefined ? {} : { options: [...mount.options] }) };
}

/** Parents before children; equals keep their order [F63, F64]. */
export function sortByDepth<T extends { readonly destination: string }>(mounts: readonly T[]): T[] {
  const depth = ({ destination }: T) =>
    cleanPath(destination)
      .split('/')
      .filter((part) => part !== '').length;
  return mounts
    .map((mount) => ({ mount, depth: depth(mount) }))
    .sort((a, b) => a.depth - b.depth)
    .map(({ mount }) => mount);
}

/** Go's path.Clean: no doubled or trailing slashes, no dots. */
export function cleanPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
