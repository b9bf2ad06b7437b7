import { join } from 'node:path';
import { testingPackage } from './testing-package.ts';

/** The directory of the CNI plugins of the next Debian, which know CNI 1.1 (GC, STATUS; Debian 12's 1.1.1 do not). */
export async function newerPlugins(): Promise<string> {
  return join(await testingPackage('containernetworking-plugins', 'cni'), 'usr/lib/cni');
}
