import { openSync, writeSync } from 'node:fs';
import { type LoadedConfig, logSettings } from '../config/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { type LogSink, type Logger, createLogger, stderrSink } from '../log/index.ts';

/** The daemon's logger as `log_level`, `log_filter` and `--log` ask [C.4]. */
export function buildLogger({ config, commandLine }: LoadedConfig): Logger {
  const { level, filter, file } = logSettings(config, commandLine);
  const sink = file === undefined ? stderrSink(level) : fileSink(file, level);
  process.stderr.on('error', () => {}); // Its reader may end before us.
  sink.filter = filter;
  return createLogger(sink);
}

function fileSink(path: string, level: LogSink['level']): LogSink {
  try {
    const fd = openSync(path, 'a', 0o644);
    return { level, filter: undefined, write: (line) => writeOrDrop(fd, line) };
  } catch (error) {
    throw new Failure('InvalidArgument', `open log file ${path}: ${textOf(error)}`, {
      cause: error,
      advice: 'Name a file that can be written with --log.',
    });
  }
}

/** A full disk costs lines, never a request: whoever logs is not prepared for a failure. */
function writeOrDrop(fd: number, line: string): void {
  try {
    writeSync(fd, line);
  } catch {
    // There is nowhere left to say it.
  }
}
