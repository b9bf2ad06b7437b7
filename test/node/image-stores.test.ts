import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Machine } from '../harness/machine.ts';

let machine: Machine;
const scenario = async (name: string, file = 'roots.ts') =>
  await machine.exec([process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'storage', file), name]);

beforeEach(async () => {
  machine = new Machine();
  await machine.start();
});
afterEach(async () => await machine.end());

test('[J37] additional image stores: found, built upon, mounted, also with mapped ids; never listed as own, never written', async () => {
  await scenario('additional');
});

test('[J28, J37] an additional image store that is missing or broken is told by name; what breaks later keeps nothing from working', async () => {
  await scenario('broken');
});

test('[J37, p28] what stood upon a store that was taken away is named, and a pull mends it', async () => {
  await scenario('gone');
});

test('[J7] with an image store, images and their layers lie there and containers below the graph root', async () => {
  await scenario('split');
});

test('[J11] locks are taken in one order: storage, layers, those of additional stores for reading and without waiting, images, containers, mounts', async () => {
  await scenario('order');
});

test('[J24] a layer has at most 500 below it', async () => {
  await scenario('depth', 'driver.ts');
});

test('[J30] a store on an overlay is refused', async () => {
  await scenario('backing', 'driver.ts');
});

test('[J36] limits of containers where the file system cannot limit them are refused at the start', async () => {
  await scenario('quotas', 'driver.ts');
});

test('[J31] the driver home is a private mount, unless it shall not be one', async () => {
  await scenario('home', 'driver.ts');
});
