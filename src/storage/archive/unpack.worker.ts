/** The entry of an unpacking thread. A burst of pulls starts some of them, and waits for them. */
import { useCompileCache } from '../../workers/index.ts';

useCompileCache();
await import('./unpacking.ts');
