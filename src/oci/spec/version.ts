/** The specification version that our specs are written to, as CRI-O 1.37's. */
const OURS = '1.3.0';
/** What every runtime in use accepts. */
const FALLBACK = '1.0.2';

/**
 * `ociVersion` that this runtime accepts: ours, or the newest it says it knows where that is older. A runtime without
 * `features` (crun 1.8.1) gets 1.0.2: it refuses versions that it has not heard of.
 */
export function chooseOciVersion(newest: string | undefined): string {
  if (newest === undefined || !/^\d+\.\d+\.\d+/.test(newest)) return FALLBACK;
  return compareVersions(newest, OURS) < 0 ? newest : OURS;
}

/** By the three numbers; a pre-release counts as its release. */
function compareVersions(a: string, b: string): number {
  const parts = (version: string) => (/^(\d{1,9})\.(\d{1,9})\.(\d{1,9})/.exec(version) ?? []).slice(1).map(Number);
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
