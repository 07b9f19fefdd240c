// Pictures of every page, for docs/screens; see scripts/screens.sh.
import { defineConfig } from "@playwright/test";
import tests from "./playwright.config";

export default defineConfig({ ...tests, testDir: "screens", timeout: 300_000 });
