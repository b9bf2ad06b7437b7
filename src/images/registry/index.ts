export { blobStream, checkDigest, readBlob } from './blob.ts';
export { discard, readBody } from './body.ts';
export { type Trust, loadTrust, withoutClient } from './certificates.ts';
export { RegistryClient } from './client.ts';
export { isRegistryCode, unexpectedStatus } from './responses.ts';
export { Sessions } from './session.ts';
export { Transport } from './transport.ts';
