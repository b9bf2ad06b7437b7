export { ForwardingSession } from './forward.ts';
export { dialStreaming, streamingUrl } from './dial.ts';
export { runSession } from './run.ts';
