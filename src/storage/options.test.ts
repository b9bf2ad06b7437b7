import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStorageOptions } from './options.ts';

const NONE = { bytes: 0n, inodes: 0n };

test('[J3] the last mountopt counts; prefixes of the driver are optional', () => {
  assert.deepEqual(parseStorageOptions([]), { mountOptions: [], skipMountHome: false, additionalImageStores: [], limits: NONE });
  assert.deepEqual(parseStorageOptions(['overlay.mountopt=nodev', 'overlay2.mountopt=nodev,metacopy=on', 'skip_mount_home=true']), {
    mountOptions: ['nodev', 'metacopy=on'],
    skipMountHome: true,
    additionalImageStores: [],
    limits: NONE,
  });
});

test('[J3, J37] additional image stores of all places add up, under both names', () => {
  const { additionalImageStores } = parseStorageOptions(['overlay.imagestore=/a', 'overlay.additionalimagestore=/b,/c', '.imagestore=']);
  assert.deepEqual(additionalImageStores, ['/a', '/b', '/c']);
});

test('[J28] unknown options and options that are not built are refused by name, not ignored', () => {
  assert.throws(() => parseStorageOptions(['overlay.frobnicate=1']), { message: 'overlay: unknown option frobnicate' });
  assert.throws(() => parseStorageOptions(['overlay.mount_program=/usr/bin/fuse-overlayfs']), { kind: 'Unimplemented' });
  assert.throws(() => parseStorageOptions(['mountopt']), { message: 'Unable to parse key/value option: mountopt' });
  assert.deepEqual(parseStorageOptions(['overlay.use_composefs=false', 'overlay.size=']).mountOptions, []);
});

test('[J38] additional layer stores are refused, malformed ones in the words of the reference', () => {
  assert.throws(() => parseStorageOptions(['overlay.additionallayerstore=/var/lib/stargz-store/store:ref']), {
    kind: 'Unimplemented',
    message: 'overlay: option additionallayerstore is not supported: crio has no additional layer stores',
    advice: /enable_partial_images/,
  });
  assert.throws(() => parseStorageOptions(['overlay.additionallayerstore=/a:ref,/b:rel']), {
    message: 'overlay: additionallayerstore config "/b:rel" contains unknown option "rel"',
  });
});

test('[J36] limits of containers: a size with units, a number of files, nothing or 0 for none', () => {
  assert.deepEqual(parseStorageOptions(['overlay.size=10m', 'overlay.inodes=500']).limits, { bytes: 10n * 1024n ** 2n, inodes: 500n });
  assert.deepEqual(parseStorageOptions(['overlay.size=0', 'overlay.inodes=']).limits, NONE);
  assert.throws(() => parseStorageOptions(['overlay.size=big']), { message: "overlay: option size: invalid size: 'big'" });
  assert.throws(() => parseStorageOptions(['overlay.inodes=-1']), { message: 'overlay: option inodes: "-1" is no number of files' });
});
