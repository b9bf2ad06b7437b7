/** What V8 lets gather by itself is sixteen times as much. */
const LOOK_AFTER_BYTES = 4 * 1024 * 1024;
let passed = 0;

/**
 * To be told of every buffer that brought bytes and is done with. Memory outside V8's heap is let go only when V8 looks at the small
 * objects that stand for it, and by itself it does not before 64 MiB have gathered: a pull and a stream would take that much, and
 * always new pages. A look at the young objects takes well under a millisecond. Without `--expose-gc` (bin/crio has it) V8 has its way.
 */
export function bufferPassed(bytes: number): void {
  passed += bytes;
  if (passed < LOOK_AFTER_BYTES) return;
  passed = 0;
  globalThis.gc?.({ type: 'minor' });
}
