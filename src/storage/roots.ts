import { mkdir, stat } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { Failure, codeOf, wrap } from '../errors/index.ts';
import type { StoreOptions } from './parts.ts';
import type { Roots } from './places.ts';

/** Makes the directories of a store that are missing, and looks at those of additional image stores, which have to be there [J7, J28, J37]. */
export async function prepareRoots(options: StoreOptions): Promise<Roots> {
  const { imageStore = '', log } = options;
  const [graphRoot, runRoot] = [resolve(options.graphRoot), resolve(options.runRoot)];
  const imageRoot = imageStore === '' ? graphRoot : resolve(imageStore);
  if (imageStore !== '' && imageRoot === graphRoot)
    throw new Failure('InvalidArgument', `imagestore ${imageStore} must either be not set or be a different than graphroot`, {
      advice: 'Leave imagestore empty, or set it to another directory than root.',
    });
  for (const root of new Set([graphRoot, runRoot, imageRoot])) {
    await mkdir(root, { recursive: true, mode: 0o700 });
    const kinds = root === imageRoot && root !== graphRoot ? ['layers', 'images'] : ['layers', 'images', 'containers'];
    for (const kind of kinds) await mkdir(join(root, `overlay-${kind}`), { recursive: true, mode: 0o700 });
  }
  const additional: string[] = [];
  for (const path of options.additionalImageStores ?? []) {
    const root = await checkAdditional(path);
    if (root === graphRoot || root === imageRoot || additional.includes(root)) continue;
    if (!existsSync(join(root, 'overlay-images', 'images.json')))
      log.warn(`Additional image store ${root} holds no images: there is no ${join(root, 'overlay-images', 'images.json')}`);
    additional.push(root);
  }
  return { graphRoot, runRoot, imageRoot, additional };
}

async function checkAdditional(path: string): Promise<string> {
  if (!isAbsolute(path))
    throw new Failure('InvalidArgument', `overlay: image path ${JSON.stringify(path)} is not absolute.  Can not be relative`);
  const advice = `Mount or make it, or take ${path} out of additionalimagestores in storage.conf and of storage_option.`;
  try {
    if ((await stat(path)).isDirectory()) return resolve(path);
  } catch (error) {
    const code = codeOf(error);
    throw new Failure('FailedPrecondition', wrap(`overlay: can't stat imageStore dir ${path}`, error).message, {
      cause: error,
      advice,
      ...(code === undefined ? {} : { code }),
    });
  }
  throw new Failure('InvalidArgument', `overlay: image path ${JSON.stringify(path)} must be a directory`, { advice });
}
