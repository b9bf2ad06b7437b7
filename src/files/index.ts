export { type AtomicWriteOptions, writeFileAtomic } from './atomic.ts';
export { parseExactJson, stringifyExactJson } from './json.ts';
