// Terminal recordings: a document of its own plays them from a file, and can call nobody.
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "./gateway";

test("an asciicast is played from a file by a page that can call nobody", async ({ as, complaints }) => {
  const carol = await as("carol");
  await carol.goto("/sessions");
  await carol.getByRole("link", { name: "Play a terminal recording" }).click();
  await carol.getByLabel(/A file/).setInputFiles(join(import.meta.dirname, "terminal.cast"));
  await carol.getByRole("button", { name: "Play", exact: true }).first().click();
  await expect(carol.locator(".ap-term")).toContainText("up 12 days");
  await expect(carol.locator(".ap-term")).toContainText("exit");
  const { violations } = await new AxeBuilder({ page: carol }).exclude(".ap-player").analyze();
  expect(violations.filter((violation) => ["serious", "critical"].includes(violation.impact ?? "")).map(({ id }) => id)).toEqual([]);
  // The pages that decide may not run WebAssembly; this one may not call.
  expect(await carol.evaluate(() => fetch("/api/v1/whoami").then(() => "called", () => "refused"))).toBe("refused");
  await carol.getByLabel(/A file/).setInputFiles({ name: "x.cast", mimeType: "text/plain", buffer: Buffer.from("<script>alert(1)</script>\n") });
  await expect(carol.getByRole("alert")).toContainText("no asciicast");
  expect(complaints.splice(0).every((complaint) => /Content Security Policy|Refused to connect/.test(complaint))).toBe(true);
  const home = await as("carol");
  await home.goto("/");
  expect(await home.evaluate(() => WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(() => "ran", () => "refused"))).toBe("refused");
  complaints.splice(0);
});
