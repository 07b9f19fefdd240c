// A picture of each page at each width. They are looked at, not compared: times and ids differ each time.
import { join } from "node:path";
import type { BrowserContext, Page } from "@playwright/test";
import { expect, settleAll, signIn, test, type Person } from "../tests/gateway";

const folder = join(import.meta.dirname, "../../docs/screens");
const WIDTHS = [1440, 768, 360] as const;

test("screens", async ({ gateway, browser }) => {
  const psql = await gateway.psql("look into order 4711");
  psql.say("select status, count(*) from orders group by 1;");
  await psql.says(/rows\)/);
  psql.say("select 1/0;");
  await psql.says(/division/);
  const held = "update orders set status = 'returned' where id = 4711 and status = 'sent' returning id, status;";
  // What the other pictures left waiting.
  await settleAll(gateway);
  psql.say(held);
  const id = /rq-[0-9a-z]{12}/.exec(await psql.says(/held as access request (rq-[0-9a-z]{12})/))?.[0] as string;
  const done = await gateway.pending("ticket 812: stock was counted again", "update products set stock = stock - 1 where id = 42 returning id, stock");
  await gateway.run("dora", "deny", done, "--comment", "count again, please");
  await gateway.pending("ticket 815: clear the test orders", "delete from orders");
  await gateway.run("ann", "group", "add", "dba", "alice", "--reason", "joins the DBAs");

  const shot = async (page: Page, name: string) => {
    // Dark, the pages that people look at longest are enough.
    if (name.endsWith("-dark") && !/^(approvals|access-request|home)-/.test(name)) return;
    await expect(page.getByRole("status", { name: "loading" })).toHaveCount(0);
    await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
  };
  for (const width of WIDTHS) {
    for (const colorScheme of width === 768 ? (["light"] as const) : (["light", "dark"] as const)) {
      const options = { viewport: { width, height: width === 360 ? 740 : 900 }, colorScheme };
      const name = (page: string) => `${page}-${width}${colorScheme === "dark" ? "-dark" : ""}`;
      const contexts = new Map<Person, BrowserContext>();
      const open = async (who: Person, path: string, ready: string) => {
        const context = contexts.get(who) ?? (await browser.newContext({ baseURL: gateway.url, ...options }));
        if (!contexts.has(who)) await signIn(context, gateway, who);
        contexts.set(who, context);
        await context.pages()[0]?.close();
        const page = await context.newPage();
        await page.goto(path);
        await expect(page.getByText(ready).first()).toBeVisible();
        return page;
      };
      const context = await browser.newContext({ baseURL: gateway.url, ...options });
      const gate = await context.newPage();
      await gate.goto(`/sign-in?to=/access-requests/${id}`);
      await expect(gate.getByRole("button", { name: "Sign in", exact: true })).toBeVisible();
      await shot(gate, name("sign-in"));
      await context.close();

      const inbox = await open("bob", "/approvals", "alice");
      await expect(inbox.getByRole("link", { name: /alice → orders-db/ })).toHaveCount(2);
      await shot(inbox, name("approvals"));
      const request = await open("bob", `/access-requests/${id}`, "worked out in this browser");
      await expect(request.locator(".timeline [data-proof=proved]")).toHaveCount(1);
      await shot(request, name("access-request"));
      await request.getByRole("button", { name: "Approve…" }).click();
      await shot(request, name("approve"));
      const story = await open("alice", `/access-requests/${done}`, "denied by dora");
      await expect(story.locator(".timeline [data-proof=proved]")).toHaveCount(2);
      await shot(story, name("denied"));
      await shot(await open("alice", "/", "What you asked for"), name("home"));
      const ask = await open("alice", "/resources/orders-db", "Allowed at once");
      await ask.getByRole("checkbox", { name: "write" }).check();
      await expect(ask.getByText("Needs approval")).toBeVisible();
      await shot(ask, name("ask"));
      await shot(await open("carol", "/sessions", "alice → orders-db"), name("sessions"));
      const session = await open("carol", "/sessions", "alice → orders-db");
      await session.getByRole("link", { name: /alice → orders-db/ }).first().click();
      await expect(session.getByText("division by zero")).toBeVisible();
      await shot(session, name("session"));
      for (const each of contexts.values()) await each.close();
    }
  }
  psql.kill();
});
