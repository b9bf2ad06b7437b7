export { ForwardingSession } from './forward.ts';
export { type RemoteCommand, openRemoteCommand } from './command.ts';
export { dialStreaming, streamingUrl } from './dial.ts';
export { runSession } from './run.ts';
