export { type Served, criHandlers } from './cri/handlers.ts';
export { CriServer, type GrpcLimits } from './cri/server.ts';
export { inspectApi } from './inspect/api.ts';
export { Listener } from './listener.ts';
