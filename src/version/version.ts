/** The CRI-O that we speak as, and our own build as a suffix (docs/architecture.md): version files and Version RPC say it. */
export const CRIO_VERSION = '1.37.0';
export const RUNTIME_VERSION = `${CRIO_VERSION}+crio-ts.1`;
