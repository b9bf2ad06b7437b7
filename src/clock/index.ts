export { GO_ZERO_TIME, type Nanoseconds, fromRfc3339, nowNs, toRfc3339 } from './clock.ts';
