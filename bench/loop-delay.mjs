// Loaded into the measured daemon (NODE_OPTIONS=--import): keeps the 99th percentile of its event loop's delay, in milliseconds, in
// LOOP_DELAY_FILE, from when the file is removed.
import { existsSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const file = process.env.LOOP_DELAY_FILE;
if (file !== undefined) {
  const RESOLUTION_MS = 5;
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  const tell = () => {
    if (!existsSync(file)) histogram.reset();
    writeFileSync(file, String(Math.max(0, histogram.percentile(99) / 1e6 - RESOLUTION_MS)));
  };
  setInterval(tell, 250).unref();
}
