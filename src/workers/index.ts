export { useCompileCache } from './compile-cache.ts';
export { workerUrl } from './worker-url.ts';
