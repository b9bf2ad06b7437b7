export { Copy, type CopyOptions } from './copy.ts';
export { bufferPassed } from './passed.ts';
export { type UpgradeAnswer, type UpgradeRequest, requestUpgrade } from './upgrade.ts';
export { type Headers, SpdySession, SpdyStream } from './spdy/index.ts';
export { WebSocketConnection, WebSocketDuplex } from './websocket/index.ts';
