export { type Served, criHandlers } from './cri/handlers.ts';
export { PodEvents } from './cri/events/pod-events.ts';
export { type CriHandlers, CriServer, type GrpcLimits } from './cri/server.ts';
export { inspectApi } from './inspect/api.ts';
export { PullBoard } from './inspect/pulls.ts';
export { Listener } from './listener.ts';
export { StreamingServer, type StreamingSettings, streamingBackend, streamingPort } from './streaming/index.ts';
