// Doing something twice over a bad line does it once: the same words have the same key until the gateway has answered them.
import { useMemo } from "react";
import { once, Problem } from "./client";

/** A key for what is said, another once it says something else or was refused. */
export function useOnce(said: string, error: unknown): ReturnType<typeof once> {
  const refused = error instanceof Problem ? error : undefined;
  return useMemo(() => {
    // What makes it another call.
    void [said, refused];
    return once();
  }, [said, refused]);
}
