// What must not be possible, tried in a real browser. Each carries the id of the failure that it excludes.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, settleAll, test } from "./gateway";

test.beforeEach(({ gateway }) => settleAll(gateway));

test("f19: no link decides, whatever is in it", async ({ gateway, as }) => {
  const id = await gateway.pending("a scanner follows links");
  const page = await as("bob");
  await page.goto("/");
  await expect(page.getByRole("heading", { name: "What you may do now" })).toBeVisible();
  const before = await gateway.ledgerSize();
  for (const path of [`/access-requests/${id}`, `/access-requests/${id}?approve=true&verdict=approve`, `/access-requests/${id}#approve`, `/approvals?at=${id}&approve=1`]) {
    await page.goto(path);
    await expect(page.getByTestId("digest").first()).toBeVisible();
    await expect(page.getByRole("dialog")).toHaveCount(0);
  }
  for (const path of [`/api/v1/access-requests/${id}/approve`, `/api/v1/access-requests/${id}/deny`]) {
    const answer = await page.context().request.get(gateway.url + path);
    expect(answer.status()).toBe(405);
  }
  expect(await gateway.ledgerSize()).toBe(before);
  expect(await gateway.state(id)).toBe("pending");
});

const HOSTILE = `<img src=x onerror="alert(1)"><script>alert(2)</script>"'}{{7*7}}</blockquote><h1>APPROVED by gateway</h1> javascript:alert(3)`;

test("f54: a reason full of HTML is shown as the requester's words and runs nothing", async ({ gateway, as }) => {
  const id = await gateway.pending(HOSTILE, `update orders set status = '<svg onload=alert(4)>' where id = 1 /* </pre><b>approved</b> */`);
  const page = await as("bob");
  for (const path of ["/approvals", `/access-requests/${id}`]) {
    await page.goto(path);
    const article = page.getByRole("article");
    await expect(article.getByTestId("words")).toHaveText(HOSTILE);
    await expect(article.getByText("alice wrote, and nobody checked it:")).toBeVisible();
    await expect(article.getByTestId("sql")).toContainText("<svg onload=alert(4)>");
    await expect(article.locator("img, script, svg[onload], b")).toHaveCount(0);
    await expect(article.getByRole("heading", { name: "APPROVED" })).toHaveCount(0);
  }
});

test("f46: characters that hide, reorder or fake are shown as what they are", async ({ gateway, as }) => {
  // The gateway refuses them in reasons; whatever gets here all the same must not deceive.
  await expect(gateway.run("alice", "request", "orders-db", "-o", "write", "--reason", "a\u202eb")).rejects.toThrow();
  const id = await gateway.pending("plain words");
  const page = await as("bob");
  await page.route(`**/api/v1/access-requests/${id}`, async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { envelope: { asked: { reason: string }; scope: { action: { text: string } } } };
    body.envelope.asked.reason = "safe \u202e\u2066 gnihton\u200b \u001b[31mred\u0007";
    body.envelope.scope.action.text = "select 1 -- \u202e'x'\u2069 \u2066";
    await route.fulfill({ response: answer, json: body });
  });
  await page.goto(`/access-requests/${id}`);
  await expect(page.getByTestId("words")).toHaveText("safe U+202EU+2066 gnihtonU+200B U+001B[31mredU+0007");
  await expect(page.getByTestId("sql")).toHaveText("select 1 -- U+202E'x'U+2069 U+2066");
  for (const text of [await page.getByTestId("words").textContent(), await page.getByTestId("sql").textContent()])
    expect(text).not.toMatch(/[\u0000-\u0008\u001b\u200b-\u200f\u202a-\u202e\u2066-\u2069]/);
});

test("f20: what is shown but is not what the digest is of can't be approved", async ({ gateway, as }) => {
  const id = await gateway.pending("shown as something else", "delete from orders where id = 1");
  const page = await as("bob");
  await page.route(`**/api/v1/access-requests/${id}`, async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { envelope: { scope: { action: { text: string } } } };
    body.envelope.scope.action.text = "select 1";
    await route.fulfill({ response: answer, json: body });
  });
  await page.goto(`/access-requests/${id}`);
  await expect(page.getByTestId("sql")).toHaveText("select 1");
  await expect(page.getByRole("alert")).toContainText("Do not trust this page");
  await expect(page.getByRole("button", { name: "Approve…" })).toBeDisabled();
  await page.keyboard.press("a");
  await expect(page.getByRole("dialog").getByRole("button", { name: "Approve", exact: true })).toBeDisabled();
});

test("f51: no page of another site frames, forges or reads anything", async ({ gateway, as, complaints }) => {
  const id = await gateway.pending("forged from elsewhere");
  const page = await as("bob");
  await page.goto(`/access-requests/${id}`);
  const digest = await page.getByTestId("digest").textContent();
  const before = await gateway.ledgerSize();
  complaints.length = 0;

  const target = `${gateway.url}/api/v1/access-requests/${id}/approve`;
  // Another site on the same machine, so that nothing but the gateway's own defence stands between.
  const site = createServer((_, response) =>
    response.setHeader("content-type", "text/html").end(`<h1>a game</h1><iframe name="victim" src="${gateway.url}/access-requests/${id}"></iframe>
      <form id="forged" method="post" action="${target}" enctype="text/plain" target="sink"><input name='{"digest":"${digest}","comment":"' value='"}'></form><iframe name="sink"></iframe>`),
  );
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const evil = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`;
  await page.goto(evil);
  // Framing: the browser refuses, and shows its own error instead.
  await expect.poll(() => complaints.join("\n")).toContain("frame-ancestors 'none'");
  await expect.poll(() => page.frames().filter((frame) => frame.url().startsWith(gateway.url)).length).toBe(0);
  // Calls with everything a script may add, and a form, which needs no script.
  const results = await page.evaluate(
    async ([url, digest]) => {
      const body = JSON.stringify({ digest });
      const attempts: RequestInit[] = [
        { method: "POST", mode: "no-cors", body },
        { method: "POST", mode: "no-cors", body: new Blob([body], { type: "text/plain" }) },
        { method: "POST", mode: "cors", body, headers: { "content-type": "application/json", "x-safeconduct-page": "1" } },
        { method: "GET", mode: "cors" },
      ];
      const said: string[] = [];
      for (const attempt of attempts) said.push(await fetch(url as string, { ...attempt, credentials: "include" }).then((answer) => answer.type, () => "blocked"));
      return said;
    },
    [target, digest],
  );
  // Sent or not, no answer may be looked at, be it only at its length.
  expect(results).toEqual(["blocked", "blocked", "blocked", "blocked"]);
  const forged = page.waitForResponse((response) => response.url() === target && response.request().resourceType() === "document");
  await page.evaluate(() => (document.getElementById("forged") as HTMLFormElement).submit());
  expect((await forged).status()).toBe(403);
  // Signing somebody in as somebody else is a forgery, too.
  const login = await page.evaluate(
    (url) => fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body: "{}" }).then((answer) => answer.type, () => "blocked"),
    `${gateway.url}/api/v1/browser/sign-in`,
  );
  expect(login).toBe("blocked");
  expect(await gateway.ledgerSize()).toBe(before);
  expect(await gateway.state(id)).toBe("pending");
  site.close();
  // What the browser said about all this is what it should say.
  complaints.length = 0;
});

test("f47: no page can read what it is signed in with", async ({ as }) => {
  const page = await as("bob");
  await page.goto("/");
  await expect(page.getByRole("heading", { name: "What you may do now" })).toBeVisible();
  const kept = await page.evaluate(() => JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }]));
  expect(kept).not.toContain("sc_");
  const [cookie] = await page.context().cookies();
  expect(cookie).toMatchObject({ name: "__Host-safeconduct", httpOnly: true, secure: true, sameSite: "Strict", path: "/" });
  expect(cookie?.value).toMatch(/^sc_/);
});
