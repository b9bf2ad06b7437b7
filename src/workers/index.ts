export { workerUrl } from './worker-url.ts';
