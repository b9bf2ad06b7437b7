export { runDaemon } from './daemon.ts';
export { StateFiles } from './version-file.ts';
