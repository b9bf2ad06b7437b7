export { blobStream, checkDigest, readBlob } from './blob.ts';
export { type Trust, loadTrust } from './certificates.ts';
export { RegistryClient } from './client.ts';
export { isRegistryCode } from './responses.ts';
export { Sessions } from './session.ts';
export { Transport } from './transport.ts';
