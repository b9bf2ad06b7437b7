export { explainStartFailure, runDaemon } from './daemon.ts';
