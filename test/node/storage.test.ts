import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { Machine } from '../harness/machine.ts';

let machine: Machine;
const program = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'storage/scenarios.ts')];
const scenario = async (...args: string[]) => await machine.exec([...program, ...args]);

beforeEach(async () => {
  machine = new Machine();
  await machine.start();
});
afterEach(async () => await machine.end());

test('[J9] [J12] [J13] [J20] [J21] [J22] [J23] [J26] a container from image to nothing: records, directories, modes, mounts', async () => {
  await scenario('lifecycle');
});

test('[J34] [J60] two stores on one root see what the other wrote: images by id, prefix, name and digest, names, mounts with their options', async () => {
  await scenario('images');
});

test('[J25] an image with more layers than a page of mount data can name', async () => {
  await scenario('deep');
});

test('[J14] names are unique, also among requests at the same time, and a refused request leaves nothing', async () => {
  await scenario('names');
});

test('[J27] [J42] [J44] unknown keys survive, incomplete layers go, lost links come back, strays are collected', async () => {
  await scenario('foreign');
});

test('[J43] [J44] [p27] [p28] lost or broken records, records that stand upon themselves, odd staging directories: nothing hangs, and nothing that is in use goes', async () => {
  await scenario('lost');
});

test('[J35] a container with an id map sees its files as its own, and the image stays as it is', async () => {
  await scenario('idmap');
});

test('[J10] while another tool holds layers.lock, changes wait and lists do not', async () => {
  await scenario('contended');
});

test('a full disk leaves nothing half made, and removal still works', async () => {
  await scenario('full');
});

test('[J60] two processes with three lanes each on one store', async () => {
  await Promise.all([scenario('hammer', 'a', '9'), scenario('hammer', 'b', '9')]);
  await scenario('recover');
});

test('[J43] killed at any moment, a store is whole: nothing half visible, debris gone after the next start', async () => {
  for (let round = 0; round < 6; round++) {
    const child = machine.spawn([...program, 'hammer', `r${round}`], ['ignore', 'pipe', 'inherit']);
    assert.ok(child.stdout);
    await once(child.stdout, 'data');
    await delay(20 + Math.random() * 300);
    const ended = once(child, 'exit');
    process.kill(machine.pidOf(child) ?? assert.fail('the hammer ended by itself'), 'SIGKILL');
    await ended;
    await scenario('recover');
  }
});
