export { type ReadOptions, readLog } from './follow.ts';
export { type LogEntry } from './parse.ts';
export { mergeLogs } from './merge.ts';
export { parseSince } from './since.ts';
export { LogPrinter, type PrintOptions } from './print.ts';
