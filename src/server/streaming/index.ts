export { streamingPort } from './port.ts';
export { StreamingServer, type StreamingSettings } from './server.ts';
export { streamingBackend } from './backend.ts';
