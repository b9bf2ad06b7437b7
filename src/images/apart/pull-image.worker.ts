/** The entry of a process that pulls one image, `crio-pull-image REF`: told what to do on its standard input (protocol.ts). */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

declare const __CRIO_BUNDLED__: boolean | undefined;
process.title = `crio-pull-image ${process.argv[2] ?? ''}`;
if (typeof __CRIO_BUNDLED__ !== 'undefined') enableCompileCache(join(import.meta.dirname, 'compile-cache'));

const { pullAsChild } = await import('./child.ts');
await pullAsChild();
