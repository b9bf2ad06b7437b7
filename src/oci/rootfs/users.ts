import { Failure, wrap } from '../../errors/index.ts';
import { readFileInRoot } from '../../linux/index.ts';
import { type LinuxContainerSecurityContext, type ResolvedUser, SupplementalGroupsPolicy } from '../spec/index.ts';

/** Where the kernel's ids end for runtimes: they hold them in 32 signed bits. */
const MAX_ID = 2147483647n;

export interface PasswdEntry {
  readonly name: string;
  readonly uid: bigint;
  readonly gid: bigint;
}

export interface GroupEntry {
  readonly name: string;
  readonly gid: bigint;
  readonly members: readonly string[];
}

export interface Accounts {
  /** The file's bytes; undefined = no such file. */
  readonly passwd: Buffer | undefined;
  readonly group: Buffer | undefined;
  readonly users: readonly PasswdEntry[];
  readonly groups: readonly GroupEntry[];
}

/**
 * The rootfs' own /etc/passwd and /etc/group, resolved inside it [F21, a24, a28, a29]: regular files of at most 4 MiB,
 * anything else under that name fails. Lines whose ids are not numbers are skipped: to Go they would be root's.
 */
export function readAccounts(rootFd: number): Accounts {
  const passwd = readAccountFile(rootFd, '/etc/passwd');
  const group = readAccountFile(rootFd, '/etc/group');
  return {
    passwd,
    group,
    users: lines(passwd).flatMap(([name, , uid, gid]) => {
      const [u, g] = [parseId(uid), parseId(gid)];
      return u === undefined || g === undefined || !name ? [] : [{ name, uid: u, gid: g }];
    }),
    groups: lines(group).flatMap(([name, , gid, members]) => {
      const g = parseId(gid);
      return g === undefined || !name ? [] : [{ name, gid: g, members: (members ?? '').split(',').filter((m) => m !== '') }];
    }),
  };
}

function readAccountFile(rootFd: number, path: string): Buffer | undefined {
  try {
    return readFileInRoot(rootFd, path);
  } catch (error) {
    throw wrap('get exec user', error);
  }
}

function lines(file: Buffer | undefined): string[][] {
  const text = file?.toString('utf8') ?? '';
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

function parseId(text: string | undefined): bigint | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? BigInt(text) : undefined;
}

/** run_as_username, else run_as_user, else the image's USER [F20]. */
export function userString(security: LinuxContainerSecurityContext | undefined, imageUser: string): string {
  if (security?.runAsUsername) return security.runAsUsername;
  if (security?.runAsUser !== undefined) return security.runAsUser.value.toString();
  if (security?.runAsGroup !== undefined && imageUser === '')
    throw new Failure('Unknown', 'user group is specified without user or username', { advice: 'Set runAsUser together with runAsGroup.' });
  return imageUser;
}

/**
 * The ids a container's process gets [F20–F23, a31, a32]. A number is always an id, never looked up as a name, and
 * must lie in 0…2147483647; a name must be in the rootfs' files. Fails with `get exec user: …`.
 */
export function lookupUser(accounts: Accounts, user: string, security: LinuxContainerSecurityContext | undefined): ResolvedUser {
  const found = lookup(accounts, user);
  const gid = security?.runAsGroup === undefined ? found.gid : inRange(security.runAsGroup.value);
  const policy = security?.supplementalGroupsPolicy ?? SupplementalGroupsPolicy.Merge;
  if (policy !== SupplementalGroupsPolicy.Merge && policy !== SupplementalGroupsPolicy.Strict)
    throw new Failure('Unknown', `not implemented in this CRI-O release: SupplementalGroupsPolicy=${policy}`);
  const requested = (security?.supplementalGroups ?? []).map(inRange);
  const merged = policy === SupplementalGroupsPolicy.Merge ? found.memberOf : [];
  return { uid: found.uid, gid, additionalGids: [...new Set([gid, ...merged, ...requested])] };
}

interface Found {
  readonly uid: number;
  readonly gid: number;
  readonly memberOf: readonly number[];
}

function lookup({ users, groups }: Accounts, text: string): Found {
  const colon = text.indexOf(':');
  const userPart = colon < 0 ? text : text.slice(0, colon);
  const groupPart = colon < 0 ? '' : text.slice(colon + 1);
  const wanted = userPart === '' ? 0n : numberOf(userPart);
  const entry = users.find((u) => (wanted === undefined ? u.name === userPart : u.uid === wanted));
  if (entry === undefined && wanted === undefined) throw execUser(`unable to find user ${userPart}: no matching entries in passwd file`);
  const uid = inRange(entry?.uid ?? wanted ?? 0n);
  if (groupPart !== '') return { uid, gid: groupId(groups, groupPart), memberOf: [] };
  const name = entry?.name;
  const memberOf = name === undefined ? [] : groups.filter((g) => g.members.includes(name)).map((g) => inRange(g.gid));
  return { uid, gid: inRange(entry?.gid ?? 0n), memberOf };
}

function groupId(groups: readonly GroupEntry[], text: string): number {
  const wanted = numberOf(text);
  if (wanted !== undefined) return inRange(wanted);
  const entry = groups.find((g) => g.name === text);
  if (entry === undefined) throw execUser(`unable to find group ${text}: no matching entries in group file`);
  return inRange(entry.gid);
}

/** Decimal digits, a sign allowed, as Go reads them; undefined for a name. */
function numberOf(text: string): bigint | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  return text.length > 32 ? MAX_ID + 1n : BigInt(text.startsWith('+') ? text.slice(1) : text);
}

function inRange(id: bigint): number {
  if (id < 0n || id > MAX_ID) throw execUser('uids and gids must be in range 0-2147483647');
  return Number(id);
}

function execUser(reason: string): Failure {
  return new Failure('Unknown', `get exec user: ${reason}`, {
    advice: 'Check runAsUser, runAsGroup and the USER of the image against its /etc/passwd and /etc/group.',
  });
}
