export { type AtomicWriteOptions, removeHalfWritten, writeFileAtomic } from './atomic.ts';
export { type DirectoryEvent, DirectoryFollower } from './directory-follower.ts';
export { parseExactJson, stringifyExactJson } from './json.ts';
