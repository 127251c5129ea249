// jest's map of files, made in its own process: of the few that are here it is sooner done than two processes are started to
// do it, each second of which is twenty in an emulated machine.
const HasteMap = require('jest-haste-map').default

module.exports = class extends HasteMap {
  static create(options) {
    return HasteMap.create({
      ...options,
      hasteMapModulePath: undefined,
      maxWorkers: 1,
      computeDependencies: false,
    })
  }

  // jest calls no create() of ours, and awaits what it has constructed.
  constructor(options) {
    return module.exports.create(options)
  }
}
