import { defineConfig } from 'vitest/config'

// The panel in Debian's Chromium against `gantry demo` with real guests: one test after the other, on one demo.
export default defineConfig({
  test: { environment: 'node', include: ['endtoend/**/*.test.ts'], testTimeout: 90_000, hookTimeout: 150_000, fileParallelism: false, bail: 1 },
})
