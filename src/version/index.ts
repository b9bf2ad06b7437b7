export { CRIO_VERSION, RUNTIME_VERSION } from './version.ts';
