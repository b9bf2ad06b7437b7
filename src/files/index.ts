export { type AtomicWriteOptions, writeFileAtomic } from './atomic.ts';
