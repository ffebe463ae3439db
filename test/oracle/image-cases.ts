import fc from 'fast-check';

const HEX = 'ab12'.repeat(32);
const component = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('nginx', 'app', 'library', 'a', 'my-app', 'a__b', 'a.b', 'a--b') },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...'ab1A_-.'), minLength: 1, maxLength: 6 }) },
);
const registry = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...[
        '',
        '',
        'docker.io/',
        'index.docker.io/',
        'quay.io/',
        'localhost/',
        'localhost:5000/',
        'host:5000/',
      ],
      ...[
        'registry/',
        'Registry/',
        'docker.io:443/',
        '[::1]/',
        '[2001:db8::1]:5000/',
        'DOCKER.IO/',
        '127.0.0.1/',
      ],
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({ unit: fc.constantFrom(...'aB1.:-[]'), maxLength: 8 }).map((text) => `${text}/`),
  },
);
const tag = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('', '', ':1', ':latest', ':v1.2-rc_3', ':A', `:${'t'.repeat(128)}`),
  },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.constantFrom(':', ':-a', ':.a', ':a:b', ':a b', `:${'t'.repeat(129)}`, ':a/b', ':ä'),
      fc.string({ unit: fc.constantFrom(...'aZ0_.-'), maxLength: 5 }).map((text) => `:${text}`),
    ),
  },
);
const digest = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...['', '', '', `@sha256:${HEX.slice(0, 64)}`, `@sha512:${HEX}`, `@sha384:${HEX.slice(0, 96)}`],
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        '@',
        '@sha256:',
        `@sha256:${HEX.slice(0, 63)}`,
        `@sha256:${HEX.slice(0, 65)}`,
        `@md5:${HEX.slice(0, 32)}`,
      ],
      ...[`@sha256:${HEX.slice(0, 64).toUpperCase()}`, `@SHA256:${HEX.slice(0, 64)}`, `@${HEX.slice(0, 64)}`],
      ...[`@sha256:${HEX.slice(0, 64)}@sha256:${HEX.slice(0, 64)}`, `@sha512:${HEX.slice(0, 64)}`, '@a+b:00'],
    ),
  },
);
const whole = fc
  .tuple(registry, fc.array(component, { minLength: 1, maxLength: 3 }), tag, digest)
  .map(([host, path, label, sum]) => `${host}${path.join('/')}${label}${sum}`);

/** Image references as people write them, and what is none. */
export const imageReferences = fc.oneof(
  { weight: 12, arbitrary: whole },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        '',
        ' ',
        '/',
        'nginx ',
        ' nginx',
        'nginx\n',
        '/nginx',
        'nginx/',
        '//',
        'http://nginx',
        'a'.repeat(64),
      ],
      ...[
        HEX.slice(0, 64),
        HEX.slice(0, 63),
        `library/${HEX.slice(0, 64)}`,
        `${HEX.slice(0, 64)}:1`,
        '<none>',
      ],
      ...[
        'a'.repeat(247),
        'a'.repeat(248),
        `b/${'a'.repeat(253)}`,
        `b/${'a'.repeat(254)}`,
        `quay.io/${'a'.repeat(255)}`,
      ],
      ...[
        `quay.io/${'a'.repeat(256)}`,
        `${'r'.repeat(300)}.io/a`,
        `${'r'.repeat(300)}.io/${'a'.repeat(255)}`,
      ],
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...'aB0/:@._-[] é'), maxLength: 12 }) },
);
