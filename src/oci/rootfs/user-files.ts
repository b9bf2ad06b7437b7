import { chmod, chown, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../errors/index.ts';
import { O, statOrThrow, tryOpenInRoot } from '../../linux/index.ts';
import { type IdMappings, type OciMount, type ResolvedUser, hostOwner } from '../spec/index.ts';
import type { Accounts } from './users.ts';

export interface UserFilesRequest {
  readonly rootFd: number;
  /** The container's run directory: the copies are written there. */
  readonly runDir: string;
  readonly accounts: Accounts;
  readonly user: ResolvedUser;
  /** As `userString` gave it. */
  readonly userText: string;
  /** `process.env`, for HOME. */
  readonly env: readonly string[];
  /** Destinations that are mounted already. */
  readonly mounted: ReadonlySet<string>;
  /** The root file system's owners are the host's ids; `user` is of this user namespace. */
  readonly idMappings: IdMappings | undefined;
}

/**
 * Copies of /etc/passwd and /etc/group with one more line, where the container's ids have none, and the mounts that put
 * them in place [F24–F27, a21]. Files that are missing, empty or that somebody in the container may write are left alone.
 */
export async function writeUserFiles(request: UserFilesRequest): Promise<OciMount[]> {
  const { accounts, user, runDir, mounted } = request;
  if (mounted.has('/etc')) return [];
  const mounts: OciMount[] = [];
  const add = async (name: 'passwd' | 'group', content: Buffer | undefined, line: () => string) => {
    const destination = `/etc/${name}`;
    if (mounted.has(destination) || content === undefined || content.length === 0) return;
    const owner = ownerOf(request.rootFd, destination);
    if (owner === undefined || writableBy(owner, hostOwner(user, request.idMappings).uid)) return;
    const copy = join(runDir, name);
    await writeFile(copy, Buffer.concat([content, Buffer.from(content.at(-1) === 0x0a ? '' : '\n'), Buffer.from(line())]));
    await chown(copy, owner.uid, owner.gid);
    await chmod(copy, owner.mode & 0o777);
    mounts.push({ destination, type: 'bind', source: copy, options: ['rw', 'bind', 'nodev', 'nosuid', 'noexec'] });
  };
  if (!accounts.users.some((entry) => entry.uid === BigInt(user.uid))) await add('passwd', accounts.passwd, () => passwdLine(request));
  if (!accounts.groups.some((entry) => entry.gid === BigInt(user.gid)))
    await add('group', accounts.group, () => `${user.gid}:x:${user.gid}:\n`);
  return mounts;
}

/** One line and nothing but one: what could break out of its field is refused. */
function passwdLine({ user, userText, env }: UserFilesRequest): string {
  const name = userText.split(':', 1)[0] || 'default';
  const home = env.find((entry) => entry.startsWith('HOME='))?.slice('HOME='.length) || '/';
  for (const [what, text] of [
    ['user name', name],
    ['HOME', home],
  ] as const) {
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029:]/.test(text))
      throw new Failure('InvalidArgument', `invalid ${what} ${JSON.stringify(text)}: it would not fit into one field of /etc/passwd`);
  }
  return `${name}:x:${user.uid}:${user.gid}:${name} user:${home}:/sbin/nologin\n`;
}

interface FileOwner {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

function ownerOf(rootFd: number, path: string): FileOwner | undefined {
  using found = tryOpenInRoot(rootFd, path, O.PATH);
  return found === undefined ? undefined : statOrThrow(found.fd);
}

/** Whether the container can add its own line: group or world may write, or it owns the file and may [F25]. */
function writableBy(file: FileOwner, uid: number): boolean {
  return (file.mode & 0o022) !== 0 || (file.uid === uid && (file.mode & 0o200) !== 0);
}
