import { Failure, wrap } from '../errors/index.ts';
import { run } from '../process/index.ts';
import { type Credentials, Secret } from './credentials.ts';
import { type JsonTable, asTable, textField } from './json.ts';

/** A helper may ask a cloud or a key ring, never a person. */
const HELPER_TIMEOUT_MS = 30_000;
const MAX_ANSWER = 1024 * 1024;
/** What a helper prints, and exits with 1, where it knows nothing of a registry: no error. */
const NOT_FOUND = 'credentials not found in native keychain';
/** The user name with which a helper says that the secret is an identity token. */
const TOKEN_USER = '<token>';

/**
 * Asks `docker-credential-<helper> get` for a registry's credentials; undefined where it has none [I25]. The helper gets our
 * environment, which tells many of them where to look, without what would steer a program's loader. Fails with what the
 * helper printed.
 */
export async function askHelper(
  helper: string,
  registry: string,
  env: Readonly<Record<string, string | undefined>>,
  signal?: AbortSignal,
  timeoutMs = HELPER_TIMEOUT_MS,
): Promise<Credentials | undefined> {
  if (!/^[A-Za-z0-9_.-]+$/.test(helper))
    throw new Failure('InvalidArgument', `credential helper ${JSON.stringify(helper.slice(0, 128))} is no name of a program`);
  const doing = `error getting credentials - credential helper ${helper}`;
  let answer: string;
  try {
    const options = { stdin: registry, env: helperEnvironment(env), timeoutMs, maxOutput: MAX_ANSWER };
    const result = await run([`docker-credential-${helper}`, 'get'], signal === undefined ? options : { ...options, signal });
    if (result.code !== 0) {
      const said = `${result.stdout.toString('utf8')}${result.stderr}`.trim();
      if (said.includes(NOT_FOUND)) return undefined;
      throw new Failure('Unknown', `${JSON.stringify(said.slice(0, 1024))}: exit status ${result.code ?? result.signal}`);
    }
    answer = result.stdout.toString('utf8');
  } catch (error) {
    signal?.throwIfAborted();
    const failed = wrap(doing, error);
    // Its deadline is no client's.
    throw failed.kind === 'DeadlineExceeded' ? new Failure('Unavailable', failed.message, { cause: error, code: 'HELPER_HANGS' }) : failed;
  }
  return credentialsOf(answer, doing);
}

function credentialsOf(answer: string, doing: string): Credentials | undefined {
  let table: JsonTable;
  try {
    table = asTable(JSON.parse(answer), doing);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Failure('Unknown', `${doing}: its answer is no JSON`); // Without the answer: it holds a secret.
  }
  const username = textField(table, 'Username', doing) ?? '';
  const secret = textField(table, 'Secret', doing) ?? '';
  if (username === TOKEN_USER)
    return { username: '', password: new Secret(''), identityToken: new Secret(secret), registryToken: undefined };
  if (username === '') return undefined;
  return { username, password: new Secret(secret), identityToken: undefined, registryToken: undefined };
}

function helperEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(env).filter(([name, value]) => value !== undefined && !/^(?:LD_|NODE_|MALLOC_|CRIO_)/.test(name));
  return Object.fromEntries(kept) as Record<string, string>;
}
