export type { Headers } from './headers.ts';
export { SpdySession } from './session.ts';
export { SpdyStream } from './stream.ts';
