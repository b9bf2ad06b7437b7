export { type ReadOptions, readLog } from './follow.ts';
export { type LogEntry } from './parse.ts';
export { LogPrinter, type PrintOptions } from './print.ts';
