import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { usesProxy } from './proxy.ts';

const PROXY = { HTTPS_PROXY: 'http://proxy:3128', https_proxy: '' };
const uses = (url: string, noProxy: string) => usesProxy(new URL(url), { ...PROXY, NO_PROXY: noProxy });

describe('the proxy of the environment', () => {
  it('is for its own scheme, in capitals or small letters', () => {
    assert.equal(usesProxy(new URL('https://x.io/'), { https_proxy: 'http://p' }), true);
    assert.equal(usesProxy(new URL('http://x.io/'), { https_proxy: 'http://p' }), false);
    assert.equal(usesProxy(new URL('http://x.io/'), { HTTP_PROXY: 'http://p' }), true);
  });

  it('is not used for what NO_PROXY names, as Go reads it', () => {
    for (const [url, noProxy, proxied] of [
      ['https://x.io/', '', true],
      ['https://x.io/', '*', false],
      ['https://x.io/', 'x.io', false],
      ['https://a.x.io/', 'x.io', false],
      ['https://ax.io/', 'x.io', true],
      ['https://x.io/', '.x.io', true],
      ['https://a.x.io/', '.x.io', false],
      ['https://a.x.io/', '*.x.io', false],
      ['https://a.x.io/', 'y.io, A.X.IO', false],
      ['https://x.io:5000/', 'x.io:5000', false],
      ['https://x.io/', 'x.io:5000', true],
      ['https://10.1.2.3/', '10.0.0.0/8', false],
      ['https://11.1.2.3/', '10.0.0.0/8', true],
      ['https://10.1.2.3:5000/', '10.1.2.3', false],
      ['https://[fd00::1]/', 'fd00::/8', false],
      ['https://[fd00::1]/', '[fd00::1]:443', false],
      ['https://x.io/', '10.0.0.0/8', true],
      ['https://10.1.2.3/', '10.0.0.0/99', true],
    ] as const)
      assert.equal(uses(url, noProxy), proxied, `${url} with NO_PROXY=${noProxy}`);
  });

  it('is never used for this machine', () => {
    for (const host of ['localhost', '127.0.0.1', '127.9.9.9:5000', '[::1]']) assert.equal(uses(`https://${host}/`, ''), false, host);
  });
});
