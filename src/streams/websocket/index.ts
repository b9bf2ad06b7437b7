export { WebSocketConnection } from './connection.ts';
export { WebSocketDuplex } from './duplex.ts';
