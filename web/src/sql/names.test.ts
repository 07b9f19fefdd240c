import { expect, it } from "vitest";
import type { AccessRequest } from "../api/client";
import { namesSeen } from "./names";

const asked = (resource: string, text: string, objects: string[] = [], functions: string[] = []) =>
  ({ resource, envelope: { scope: { scope: "exact", action: { kind: "sql", text } } }, facts: { statements: [{ objects, functions }] } }) as unknown as AccessRequest;

it("names come from one's own statements on that resource, without keywords, texts, comments and what would need quotes", () => {
  const requests = [
    asked("orders-db", `update orders set status = 'secret_text' where "Odd Name" = 1 -- hidden_word`, ["orders (write)"], ["lower(text)"]),
    asked("orders-db", "select stock from products", ["public.products (read)"]),
    asked("billing-db", "select card from customers", ["customers (read)"]),
  ];
  expect(namesSeen(requests, "orders-db")).toEqual(["orders", "public.products", "lower", "products", "status", "stock"]);
  expect(namesSeen(requests, "billing-db")).toEqual(["customers", "card"]);
  expect(namesSeen(requests, "other-db")).toEqual([]);
});

it("windows name nothing", () => {
  expect(namesSeen([{ resource: "orders-db", envelope: { scope: { scope: "window" } } } as unknown as AccessRequest], "orders-db")).toEqual([]);
});
