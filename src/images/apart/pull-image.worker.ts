/** The entry of a process that pulls one image, `crio-pull-image REF`: told what to do on its standard input (protocol.ts). */
import { useCompileCache } from '../../workers/index.ts';

process.title = `crio-pull-image ${process.argv[2] ?? ''}`;
useCompileCache();

const { pullAsChild } = await import('./child.ts');
await pullAsChild();
