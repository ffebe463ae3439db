import { describe, expect, it } from 'vitest';
import { isConflict, isGone, isNamespaceTerminating, isNotFound, isRefused, KubeError } from './errors.ts';

const error = (status: number, reason = '') => new KubeError(status, reason, 'GET /x: no');

describe('a KubeError', () => {
  it.each<{ what: string; error: unknown; is: string[] }>([
    { what: '404', error: error(404, 'NotFound'), is: ['not found'] },
    { what: '409, of an object that exists', error: error(409, 'AlreadyExists'), is: ['conflict'] },
    { what: '409, of an older version', error: error(409, 'Conflict'), is: ['conflict'] },
    { what: '410', error: error(410, 'Gone'), is: ['gone'] },
    { what: 'an ERROR in a watch that says Expired', error: error(0, 'Expired'), is: ['gone'] },
    { what: '403', error: error(403, 'Forbidden'), is: ['refused'] },
    {
      what: '403, in a namespace that is being deleted',
      error: error(403, 'NamespaceTerminating'),
      is: ['namespace terminating', 'refused'],
    },
    { what: '400', error: error(400, 'BadRequest'), is: ['refused'] },
    { what: '422', error: error(422, 'Invalid'), is: ['refused'] },
    { what: '429', error: error(429, 'TooManyRequests'), is: [] },
    { what: '500', error: error(500, 'InternalError'), is: [] },
    { what: 'no answer', error: error(0, 'Unreachable'), is: [] },
    { what: 'another error with the same fields', error: { status: 404, reason: 'Expired' }, is: [] },
    { what: 'nothing', error: undefined, is: [] },
  ])('of $what is $is', ({ error: each, is }) => {
    const answers = {
      'not found': isNotFound(each),
      conflict: isConflict(each),
      gone: isGone(each),
      'namespace terminating': isNamespaceTerminating(each),
      refused: isRefused(each),
    };
    expect(Object.entries(answers).flatMap(([name, yes]) => (yes ? name : []))).toEqual(is);
  });

  it('has a code, the words of the API server, and its cause', () => {
    const cause = new Error('ECONNREFUSED');
    const made = new KubeError(0, 'Unreachable', 'the API server did not answer', { cause });
    expect(made).toMatchObject({
      name: 'KubeError',
      code: 'IPS_KUBE_API',
      status: 0,
      reason: 'Unreachable',
      message: 'the API server did not answer',
      cause,
    });
  });
});
