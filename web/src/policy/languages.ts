// Colours for what bundles hold: Cedar and TOML. For reading only; whether a text is right is the gateway's to say.
import { StreamLanguage, type StreamParser } from "@codemirror/language";

const EFFECTS = /^(?:permit|forbid)\b/;
const WORDS = /^(?:when|unless|principal|action|resource|context|in|is|has|like|if|then|else)\b/;

const cedar: StreamParser<null> = {
  name: "cedar",
  startState: () => null,
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match("//")) {
      stream.skipToEnd();
      return "comment";
    }
    if (stream.match(/^"(?:[^"\\]|\\.)*(?:"|$)/)) return "string";
    if (stream.match(/^@[A-Za-z_]\w*/)) return "meta";
    if (stream.match(/^-?\d+\b/)) return "number";
    if (stream.match(/^(?:true|false)\b/)) return "bool";
    if (stream.match(EFFECTS) || stream.match(WORDS)) return "keyword";
    // `Group::"dba"`: a type before its id.
    if (stream.match(/^[A-Za-z_]\w*(?=::)/)) return "typeName";
    if (stream.match(/^[A-Za-z_]\w*/)) return "variableName";
    stream.next();
    return null;
  },
};

const toml: StreamParser<{ within: string }> = {
  name: "toml",
  startState: () => ({ within: "" }),
  token(stream, state) {
    if (state.within) {
      // A text of several lines goes on to its end, wherever that is.
      if (stream.skipTo(state.within)) {
        stream.match(state.within);
        state.within = "";
      } else stream.skipToEnd();
      return "string";
    }
    const first = stream.sol() || /^\s*$/.test(stream.string.slice(0, stream.pos));
    if (stream.eatSpace()) return null;
    if (stream.match(/^#.*/)) return "comment";
    for (const quotes of ['"""', "'''"])
      if (stream.match(quotes)) {
        state.within = quotes;
        return "string";
      }
    if (first && stream.match(/^\[\[?[^\]]*\]?\]?/)) return "keyword";
    if (first && stream.match(/^(?:[\w.-]+|"[^"]*")(?=\s*=)/)) return "propertyName";
    if (stream.match(/^"(?:[^"\\]|\\.)*(?:"|$)/) || stream.match(/^'[^']*(?:'|$)/)) return "string";
    if (stream.match(/^(?:true|false)\b/)) return "bool";
    if (stream.match(/^[+-]?\d[\w:.+-]*/)) return "number";
    stream.next();
    return null;
  },
};

export const languageOf = (path: string) =>
  path.endsWith(".cedar") ? StreamLanguage.define(cedar) : path.endsWith(".toml") ? StreamLanguage.define(toml) : [];
