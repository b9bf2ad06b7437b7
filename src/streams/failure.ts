import { Failure } from '../errors/index.ts';

/** What a peer sent is not the protocol, or passes a limit: the connection ends, nothing else does. */
export function protocolFailure(what: string): Failure {
  return new Failure('InvalidArgument', what, { code: 'protocol' });
}
