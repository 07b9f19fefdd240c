//! JSON as sources write it: names of attributes in any case, truth as a word, nothing as `null`. What is not kept is dropped here.

use serde_json::{Map, Value};

use crate::answer::Refused;

/// An object whose attributes are found in any case.
pub(crate) struct Written(Map<String, Value>);

impl Written {
    pub fn read(value: Value) -> Result<Self, Refused> {
        let Value::Object(object) = value else { return Err(Refused::syntax("an object is expected")) };
        let mut folded = Map::new();
        for (name, value) in object {
            if folded.insert(name.to_ascii_lowercase(), value).is_some() {
                return Err(Refused::syntax("an attribute is there twice"));
            }
        }
        Ok(Self(folded))
    }

    /// Takes an attribute out. `null` and an empty list are the same as nothing.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(&name.to_ascii_lowercase()).filter(|value| !is_nothing(value))
    }

    /// Whatever is left, by folded name.
    pub fn rest(self) -> impl Iterator<Item = (String, Value)> {
        self.0.into_iter()
    }
}

/// No value, as RFC 7643 section 2.5 has it.
pub(crate) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// A text. Blanks around it are dropped; nothing but blanks is nothing.
pub(crate) fn text(name: &str, value: Value) -> Result<Option<String>, Refused> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        _ => Err(Refused::value(format!("`{name}` is a string"))),
    }
}

/// True or false, also as a word.
pub(crate) fn truth(name: &str, value: &Value) -> Result<bool, Refused> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(word) if word.eq_ignore_ascii_case("false") => Ok(false),
        // One value in a list, as some sources send it.
        Value::Array(items) => match items.as_slice() {
            [one] if !one.is_array() => truth(name, one),
            _ => Err(Refused::value(format!("`{name}` is true or false"))),
        },
        _ => Err(Refused::value(format!("`{name}` is true or false"))),
    }
}
