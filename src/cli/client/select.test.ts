import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Failure } from '../../errors/index.ts';
import { Container, ContainerState, PodSandbox, PodSandboxState } from '../../wire/index.ts';
import { fullName, select, selectContainer, targetsOf } from './select.ts';

const id = (head: string): string => head.padEnd(64, '0');
const pod = (head: string, namespace: string, name: string, ready = true, attempt = 0): PodSandbox =>
  PodSandbox.create({
    id: id(head),
    metadata: { name, namespace, attempt },
    state: ready ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY,
    createdAt: BigInt(attempt),
  });
const container = (head: string, podHead: string, name: string, running = true, attempt = 0): Container =>
  Container.create({
    id: id(head),
    podSandboxId: id(podHead),
    metadata: { name, attempt },
    state: running ? ContainerState.CONTAINER_RUNNING : ContainerState.CONTAINER_EXITED,
    createdAt: BigInt(attempt),
  });

const targets = targetsOf(
  [
    pod('aa1', 'default', 'web'),
    pod('aa2', 'prod', 'web'),
    pod('bb', 'default', 'db'),
    pod('cc1', 'default', 'job', false, 0),
    pod('cc2', 'default', 'job', false, 1),
  ],
  [
    container('dd1', 'aa1', 'nginx', false, 0),
    container('dd2', 'aa1', 'nginx', true, 1),
    container('ee', 'bb', 'postgres'),
    container('ff', 'bb', 'backup', false),
    container('ab', 'cc2', 'main', false),
  ],
);

const found = (word: string, wanted: 'any' | 'container' = 'any', preferNewest = true): string =>
  select(word, targets, wanted, preferNewest).id.replace(/0+$/, '');
const refused = (work: () => unknown, kind: string, message: RegExp): void => {
  assert.throws(work, (error: unknown) => error instanceof Failure && error.kind === kind && message.test(error.message), String(message));
};

describe('what a word names', () => {
  it('is an id, or the beginning of one', () => {
    assert.equal(found(id('bb')), 'bb');
    assert.equal(found('aa2'), 'aa2');
    assert.equal(found('e'), 'ee');
    refused(() => found('aa'), 'InvalidArgument', /"aa" is ambiguous.*\n {2}aa1.*default\/web\n {2}aa2.*prod\/web/);
    refused(() => found('zz'), 'NotFound', /no pod or container is called "zz"/);
    refused(() => found(''), 'NotFound', /called ""/);
  });

  it('is [namespace/]pod[/container]', () => {
    assert.equal(found('db'), 'bb');
    assert.equal(found('prod/web'), 'aa2');
    assert.equal(found('db/postgres'), 'ee');
    assert.equal(found('default/db/backup'), 'ff');
    refused(() => found('web'), 'InvalidArgument', /default\/web\n.*prod\/web/);
    refused(() => found('default/db/other'), 'NotFound', /no pod/);
  });

  it('prefers a name to the beginning of an id', () => {
    const named = targetsOf([pod('aaa', 'default', 'cafe'), pod('cafe1', 'default', 'other')], []);
    assert.equal(fullName(select('cafe', named, 'any')), 'default/cafe');
  });

  it('is the live one of several attempts, else the newest, which is not enough for rm', () => {
    assert.equal(found('web/nginx'), 'dd2');
    assert.equal(found('web/nginx', 'any', false), 'dd2');
    assert.equal(found('job'), 'cc2');
    refused(() => found('job', 'any', false), 'InvalidArgument', /cc1.*\(not running\)\n.*cc2/);
  });

  it('is the only container of a pod where a container is wanted', () => {
    assert.equal(found('default/web', 'container'), 'dd2');
    assert.equal(found('job', 'container'), 'ab');
    assert.equal(selectContainer(id('aa1'), targets).container, 'nginx');
    refused(() => found('db', 'container'), 'InvalidArgument', /db\/postgres\n.*db\/backup/);
    refused(() => found('prod/web', 'container'), 'NotFound', /pod "prod\/web" has no container/);
  });
});
