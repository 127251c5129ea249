import { fileURLToPath } from 'node:url'

export default {
  roots: ['<rootDir>/lib', '<rootDir>/test'],
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/build', '<rootDir>/prebuilds/'],
  cacheDirectory: process.env.FANCYPROC_JEST_CACHE || '<rootDir>/node_modules/.cache/jest',
  watchman: false,
  haste: { hasteMapModulePath: fileURLToPath(new URL('scripts/haste-map.cjs', import.meta.url)) },
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': '<rootDir>/test/support/transform.mjs',
  },
  // Tests run the sources; programs that tests fork import `fancyproc` from dist.
  moduleNameMapper: {
    '^fancyproc$': '<rootDir>/lib/index.ts',
    '^fancyproc/steps$': '<rootDir>/lib/steps/index.ts',
    '^fancyproc/thread$': '<rootDir>/lib/thread.ts',
  },
  reporters: ['default', '<rootDir>/test/support/reporter.mjs'],
  // A machine without KVM is some ten times slower.
  testTimeout: 30_000 * Number(process.env.FANCYPROC_SLOWNESS ?? 1),
  maxWorkers: 2,
}
