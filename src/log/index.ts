export { type Fields, LEVELS, type Level, type Logger, type LogSink, createLogger, silentLogger, stderrSink } from './logger.ts';
