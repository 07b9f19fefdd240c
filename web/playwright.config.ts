// Browser tests against a gateway that runs, with its PostgreSQL: Debian's Chromium, one worker, no waiting but for what happens.
import { defineConfig } from "@playwright/test";

export const chromium = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
};

export default defineConfig({
  testDir: "tests",
  workers: 1,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 20_000 },
  reporter: [["list"]],
  use: { ignoreHTTPSErrors: true, launchOptions: chromium, locale: "en-GB", timezoneId: "UTC", viewport: { width: 1440, height: 900 } },
});
