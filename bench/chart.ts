// A launch beside those of others, as an SVG: medians as bars, p10 to p90 as whiskers.
import type { Row } from './measure.ts'

const WIDTH = 720
const LEFT = 230
const LINE = 30

const text = (x: number, y: number, content: string, anchor = 'start'): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`

export function chart(rows: readonly Row[], caption: string): string {
  const shown = rows.filter(
    ({ section, what, theirs }) => section === 'launch' && what === 'launch to exit' && theirs,
  )
  const [first] = shown
  const bars = [
    ...(first ? [{ name: 'fancyproc', ...first.ours }] : []),
    ...shown.map(({ against, theirs, ours }) => ({
      name: against ?? '',
      ...(theirs ?? ours),
    })),
  ]
  // Logarithmic: they differ by tens.
  const values = bars.flatMap(({ p10, p90 }) => [p10, p90])
  const [low, high] = [Math.min(...values) / 1.5, Math.max(...values) * 1.3]
  const x = (value: number): number =>
    LEFT + ((WIDTH - LEFT - 80) * Math.log(value / low)) / Math.log(high / low)
  const lines = bars.map(({ name, p10, p50, p90 }, i) => {
    const y = 50 + i * LINE
    const colour = name === 'fancyproc' ? '#1a7f5a' : '#8a94a0'
    return [
      text(LEFT - 10, y + 14, name, 'end'),
      `<rect x="${String(LEFT)}" y="${String(y)}" width="${(x(p50) - LEFT).toFixed(1)}" height="18" rx="2" fill="${colour}"/>`,
      `<path d="M${x(p10).toFixed(1)} ${String(y + 9)}H${x(p90).toFixed(1)}" stroke="#222" stroke-width="1.5"/>`,
      text(Math.max(x(p90), x(p50)) + 8, y + 14, `${p50.toPrecision(3)} ms`),
    ].join('\n')
  })
  const height = 60 + bars.length * LINE
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${String(WIDTH)} ${String(height)}" font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    text(LEFT, 20, 'Launch to exit of an isolated program, p50 and p10–p90, logarithmic'),
    `<g fill="#667" font-size="11">${text(LEFT, 37, caption)}</g>`,
    ...lines,
    '</svg>',
    '',
  ].join('\n')
}
