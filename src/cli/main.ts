/**
 * The program's entry. It loads next to nothing itself: a client command must not wait for the daemon's modules, and
 * what is loaded from here on comes out of the compile cache where we run as a bundle.
 */
import { useCompileCache } from '../workers/index.ts';

useCompileCache();

const { main } = await import('./program.ts');
process.exitCode = await main(process.argv.slice(2), process.env);
