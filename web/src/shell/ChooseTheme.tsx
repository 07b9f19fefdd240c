// Dark or light, as somebody likes it.
import { useState } from "react";
import { chooseTheme, chosenTheme, type Theme } from "./theme";

export function ChooseTheme() {
  const [theme, setTheme] = useState<Theme>(chosenTheme);
  return (
    <div role="group" aria-label="theme" className="tabs">
      {(["system", "light", "dark"] as const).map((each) => (
        <button key={each} type="button" aria-pressed={theme === each} onClick={() => (chooseTheme(each), setTheme(each))}>
          {each}
        </button>
      ))}
    </div>
  );
}
