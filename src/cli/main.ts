/**
 * The program's entry. It loads next to nothing itself: a client command must not wait for the daemon's modules, and
 * what is loaded from here on comes out of the compile cache where we run as a bundle.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

declare const __CRIO_BUNDLED__: boolean | undefined;
// Beside the bundle, where only those who may change the program may write; never in a directory that all share.
if (typeof __CRIO_BUNDLED__ !== 'undefined') enableCompileCache(join(import.meta.dirname, 'compile-cache'));

const { main } = await import('./program.ts');
process.exitCode = await main(process.argv.slice(2), process.env);
