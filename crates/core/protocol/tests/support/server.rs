//! A small PostgreSQL: prepared statements, portals, transactions, pipelines and COPY as the real server has them, and a record of what ran.
//!
//! Written from PostgreSQL's `postgres.c`, not from the gate: it knows nothing of permits.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{
    script::{server_message, show_client, words},
    support::frames,
};

/// Something that ran: the statement's own text, the message that made it run, and what that message bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The text of the SELECT, UPDATE… itself.
    pub leaf: String,
    pub carrier: Carrier,
}

/// Which message made it run, counted among those that bind or query successfully begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    pub text: String,
    pub values: Vec<Option<Vec<u8>>>,
    pub number: usize,
}

#[derive(Clone, Debug)]
struct Portal {
    leaf: String,
    carrier: Carrier,
    rows_left: u32,
    done: bool,
    hold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tx {
    Idle,
    /// Opened by an extended message; ends at Sync.
    Implicit,
    Block,
    Failed,
}

#[derive(Debug)]
pub struct Server {
    input: BytesMut,
    /// Not yet flushed.
    pending: Vec<Bytes>,
    pub output: VecDeque<u8>,
    /// The statement, and the text that made it.
    prepared: HashMap<String, (String, String)>,
    portals: HashMap<String, Portal>,
    tx: Tx,
    savepoint: bool,
    skip: bool,
    extended: bool,
    /// COMMIT fails.
    deferred: bool,
    /// One setting: as it is, as a commit leaves it, as a rollback leaves it, and both first as the savepoint found them.
    pub setting: String,
    lasting: String,
    committed: String,
    at_savepoint: (String, String),
    copy: Option<CopyIn>,
    /// Every successful Bind and every Query that was begun.
    pub carriers: Vec<Carrier>,
    pub ran: Vec<Ran>,
    /// Every copy that got all its data, with the data.
    pub copied: Vec<(Carrier, Vec<u8>)>,
    pub dead: bool,
}

#[derive(Debug)]
struct CopyIn {
    simple: bool,
    rest: Vec<String>,
    carrier: Carrier,
    data: Vec<u8>,
    lines: u32,
}

enum Fail {
    Error(&'static str, String),
    /// Wait for copy data.
    Copy,
}

impl Server {
    pub fn new() -> Self {
        Self {
            input: BytesMut::new(),
            pending: Vec::new(),
            output: VecDeque::new(),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            tx: Tx::Idle,
            savepoint: false,
            skip: false,
            extended: false,
            deferred: false,
            setting: String::new(),
            lasting: String::new(),
            committed: String::new(),
            at_savepoint: (String::new(), String::new()),
            copy: None,
            carriers: Vec::new(),
            ran: Vec::new(),
            copied: Vec::new(),
            dead: false,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Handles at most one message; false if there is none.
    pub fn step(&mut self) -> bool {
        if self.dead || self.input.len() < 5 {
            return false;
        }
        let length = u32::from_be_bytes(self.input[1..5].try_into().unwrap()) as usize + 1;
        if self.input.len() < length {
            return false;
        }
        let mut one = self.input.split_to(length);
        let (tag, body) = frames(&mut one).remove(0);
        self.message(tag, &body);
        true
    }

    fn send(&mut self, line: &str) {
        self.pending.push(server_message(line));
    }

    fn flush(&mut self) {
        self.pending.drain(..).for_each(|bytes| self.output.extend(bytes));
    }

    fn ready(&mut self) {
        let status = match self.tx {
            Tx::Idle | Tx::Implicit => "I",
            Tx::Block => "T",
            Tx::Failed => "E",
        };
        self.send(&format!("Ready {status}"));
        self.flush();
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        let shown = show_client(tag, body);
        let parts = words(&shown);
        let part = |at: usize| parts.get(at).cloned().unwrap_or_default();
        if self.copy.is_some() {
            match tag {
                b'd' => self.copy.iter_mut().for_each(|copy| {
                    copy.lines += 1;
                    copy.data.extend_from_slice(body);
                }),
                b'c' => self.copy_end(None),
                b'f' => self.copy_end(Some("57014")),
                b'S' | b'H' => {}
                _ => {
                    self.send("Fatal 08P01 \"terminating connection because protocol synchronization was lost\"");
                    self.flush();
                    self.dead = true;
                }
            }
            return;
        }
        match tag {
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => self.extended = true,
            b'Q' => self.extended = false,
            b'S' => {
                self.skip = false;
                self.extended = false;
            }
            b'X' => {
                self.dead = true;
                return;
            }
            _ => {}
        }
        if self.skip {
            return;
        }
        let result = match tag {
            b'P' => self.parse(&part(1), &part(2)),
            b'B' => self.bind(&part(1), &part(2), body),
            b'D' => self.describe(&part(1), &part(2)),
            b'E' => self.execute(&part(1), part(2).parse().unwrap_or(0)),
            b'C' => {
                if part(1) == "S" {
                    self.prepared.remove(&part(2));
                } else {
                    self.portals.remove(&part(2));
                }
                self.send("CloseComplete");
                Ok(())
            }
            b'H' => {
                self.flush();
                Ok(())
            }
            b'S' => {
                if let Err(Fail::Error(code, text)) = self.end_implicit() {
                    self.error(code, &text);
                }
                self.ready();
                Ok(())
            }
            b'Q' => {
                self.query(&part(1));
                Ok(())
            }
            b'd' | b'c' | b'f' => Ok(()),
            other => panic!("the server was sent {other}: {shown}"),
        };
        if let Err(Fail::Error(code, text)) = result {
            self.error(code, &text);
        }
    }

    fn error(&mut self, code: &str, text: &str) {
        self.send(&format!("Error {code} {text:?}"));
        self.flush();
        match self.tx {
            Tx::Idle | Tx::Implicit => {
                self.tx = Tx::Idle;
                self.portals.retain(|_, portal| portal.hold);
                self.undo_settings();
            }
            Tx::Block | Tx::Failed => {
                self.tx = Tx::Failed;
                self.undo_settings();
            }
        }
        self.deferred = false;
        self.skip = self.extended;
    }

    fn undo_settings(&mut self) {
        self.setting.clone_from(&self.committed);
        self.lasting.clone_from(&self.committed);
    }

    fn begin_implicit(&mut self) {
        if self.tx == Tx::Idle {
            self.tx = Tx::Implicit;
        }
    }

    fn end_implicit(&mut self) -> Result<(), Fail> {
        if self.tx == Tx::Implicit {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fail> {
        self.tx = Tx::Idle;
        self.savepoint = false;
        self.portals.retain(|_, portal| portal.hold);
        if std::mem::take(&mut self.deferred) {
            self.undo_settings();
            return Err(Fail::Error("23503", "deferred constraint".to_owned()));
        }
        self.committed.clone_from(&self.lasting);
        self.setting.clone_from(&self.lasting);
        Ok(())
    }

    fn allowed(&self, text: &str) -> Result<(), Fail> {
        let exit = ["rollback", "commit"].iter().any(|word| text.starts_with(word));
        if self.tx == Tx::Failed && !exit { Err(Fail::Error("25P02", "current transaction is aborted".to_owned())) } else { Ok(()) }
    }

    fn parse(&mut self, name: &str, text: &str) -> Result<(), Fail> {
        self.begin_implicit();
        if name.is_empty() {
            self.prepared.remove("");
        }
        check_syntax(text)?;
        self.allowed(text)?;
        if self.prepared.contains_key(name) {
            return Err(Fail::Error("42P05", format!("prepared statement {name} already exists")));
        }
        self.prepared.insert(name.to_owned(), (text.to_owned(), text.to_owned()));
        self.send("ParseComplete");
        Ok(())
    }

    fn bind(&mut self, portal: &str, statement: &str, body: &[u8]) -> Result<(), Fail> {
        self.begin_implicit();
        let Some((text, origin)) = self.prepared.get(statement).cloned() else { return Err(missing(statement)) };
        self.allowed(&text)?;
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(Fail::Error("42P03", format!("cursor {portal} already exists")));
        }
        let values = bound(body);
        let carrier = self.carrier(&origin, values);
        self.portals.insert(portal.to_owned(), Portal { leaf: text, carrier, rows_left: 2, done: false, hold: false });
        self.send("BindComplete");
        Ok(())
    }

    fn carrier(&mut self, text: &str, values: Vec<Option<Vec<u8>>>) -> Carrier {
        let carrier = Carrier { text: text.to_owned(), values, number: self.carriers.len() };
        self.carriers.push(carrier.clone());
        carrier
    }

    fn describe(&mut self, target: &str, name: &str) -> Result<(), Fail> {
        self.begin_implicit();
        let text = if target == "S" {
            self.prepared.get(name).map(|(text, _)| text.clone())
        } else {
            self.portals.get(name).map(|portal| portal.leaf.clone())
        };
        let Some(text) = text else { return Err(missing(name)) };
        if target == "S" {
            self.send("ParameterDescription 23");
        }
        self.send(if text.starts_with("select") { "RowDescription" } else { "NoData" });
        Ok(())
    }

    fn execute(&mut self, name: &str, max: u32) -> Result<(), Fail> {
        self.begin_implicit();
        let Some(portal) = self.portals.get(name).cloned() else {
            return Err(Fail::Error("34000", format!("portal {name} does not exist")));
        };
        self.allowed(&portal.leaf)?;
        if portal.leaf.starts_with("select") {
            if !portal.done && portal.rows_left == 2 {
                self.ran.push(Ran { leaf: portal.leaf.clone(), carrier: portal.carrier.clone() });
                if portal.leaf.contains("0/0") {
                    return Err(Fail::Error("22012", "division by zero".to_owned()));
                }
            }
            let rows = if max == 0 { portal.rows_left } else { max.min(portal.rows_left) };
            (0..rows).for_each(|_| self.send("DataRow x"));
            let left = portal.rows_left - rows;
            if let Some(portal) = self.portals.get_mut(name) {
                portal.rows_left = left;
                portal.done = left == 0;
            }
            if left > 0 {
                self.send("Suspended")
            } else {
                self.send(&format!("Complete \"SELECT {rows}\""))
            }
            return Ok(());
        }
        if portal.done {
            return Err(Fail::Error("55000", format!("portal {name} cannot be run")));
        }
        if let Some(portal) = self.portals.get_mut(name) {
            portal.done = true;
        }
        match self.run(&portal.leaf, &portal.carrier, 0) {
            Ok(Some(tag)) => {
                self.send(&format!("Complete {tag:?}"));
                Ok(())
            }
            Ok(None) => {
                self.send("EmptyQuery");
                Ok(())
            }
            Err(Fail::Copy) => {
                self.copy = Some(CopyIn { simple: false, rest: Vec::new(), carrier: portal.carrier, data: Vec::new(), lines: 0 });
                self.send("CopyIn");
                self.flush();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn query(&mut self, text: &str) {
        self.prepared.remove("");
        self.portals.remove("");
        if let Err(Fail::Error(code, why)) = check_syntax(text) {
            self.error(code, &why);
            return self.ready();
        }
        let parts: Vec<String> = text.split(';').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
        let carrier = self.carrier(text, Vec::new());
        if parts.is_empty() {
            self.send("EmptyQuery");
            return self.ready();
        }
        self.query_parts(parts, &carrier);
    }

    fn query_parts(&mut self, mut parts: Vec<String>, carrier: &Carrier) {
        while !parts.is_empty() {
            let part = parts.remove(0);
            self.begin_implicit();
            let result = self.allowed(&part).and_then(|()| self.run(&part, carrier, 0));
            let result = match result {
                Err(Fail::Copy) => {
                    self.copy = Some(CopyIn { simple: true, rest: parts, carrier: carrier.clone(), data: Vec::new(), lines: 0 });
                    self.send("CopyIn");
                    return self.flush();
                }
                // The last statement's commit comes before its completion is told.
                Ok(tag) if parts.is_empty() => self.end_implicit().map(|()| tag),
                other => other,
            };
            match result {
                Ok(tag) => self.send(&format!("Complete {:?}", tag.unwrap_or_default())),
                Err(Fail::Error(code, why)) => {
                    self.error(code, &why);
                    break;
                }
                Err(Fail::Copy) => {}
            }
        }
        if self.tx == Tx::Implicit {
            self.tx = Tx::Idle;
        }
        self.ready();
    }

    fn copy_end(&mut self, failed: Option<&'static str>) {
        let Some(copy) = self.copy.take() else { return };
        self.extended = !copy.simple;
        if failed.is_none() {
            self.copied.push((copy.carrier.clone(), copy.data.clone()));
        }
        let mut result = match failed {
            Some(code) => Err(Fail::Error(code, "COPY from stdin failed".to_owned())),
            None => Ok(()),
        };
        if result.is_ok() && copy.simple && copy.rest.is_empty() {
            result = self.end_implicit();
        }
        match result {
            Ok(()) => {
                self.send(&format!("Complete \"COPY {}\"", copy.lines));
                if copy.simple {
                    self.query_parts(copy.rest, &copy.carrier);
                }
            }
            Err(Fail::Error(code, why)) => {
                self.error(code, &why);
                if copy.simple {
                    self.ready();
                }
            }
            Err(Fail::Copy) => {}
        }
    }

    /// Runs one statement; the answer is its command tag.
    fn run(&mut self, text: &str, carrier: &Carrier, depth: u32) -> Result<Option<String>, Fail> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let ran = |server: &mut Self, leaf: &str| server.ran.push(Ran { leaf: leaf.to_owned(), carrier: carrier.clone() });
        let tag = match word(0) {
            "" => return Ok(None),
            "select" => {
                ran(self, text);
                if text.contains("0/0") {
                    return Err(Fail::Error("22012", "division by zero".to_owned()));
                }
                (0..2).for_each(|_| self.send("DataRow x"));
                "SELECT 2"
            }
            "update" => {
                ran(self, text);
                "UPDATE 3"
            }
            "insert" => {
                ran(self, text);
                self.deferred = true;
                "INSERT 0 1"
            }
            "copy" => {
                ran(self, text);
                return Err(Fail::Copy);
            }
            "begin" => {
                self.tx = if self.tx == Tx::Failed { Tx::Failed } else { Tx::Block };
                "BEGIN"
            }
            "commit" if self.tx == Tx::Failed => {
                self.deferred = false;
                self.undo_settings();
                self.commit().ok();
                "ROLLBACK"
            }
            "commit" => {
                self.commit()?;
                "COMMIT"
            }
            "savepoint" if self.tx == Tx::Block => {
                self.savepoint = true;
                self.at_savepoint = (self.setting.clone(), self.lasting.clone());
                "SAVEPOINT"
            }
            "rollback" if word(1) == "to" => {
                if !self.savepoint {
                    return Err(Fail::Error("3B001", "savepoint does not exist".to_owned()));
                }
                self.tx = Tx::Block;
                (self.setting, self.lasting) = self.at_savepoint.clone();
                "ROLLBACK"
            }
            "rollback" => {
                self.deferred = false;
                self.portals.retain(|_, portal| portal.hold);
                self.tx = Tx::Idle;
                self.savepoint = false;
                self.undo_settings();
                "ROLLBACK"
            }
            "savepoint" => return Err(Fail::Error("25P01", "no transaction".to_owned())),
            "set" if word(words.len() - 1) == "nonsense" => return Err(Fail::Error("22023", "invalid value".to_owned())),
            "set" if word(1) == "local" => {
                word(words.len() - 1).clone_into(&mut self.setting);
                "SET"
            }
            "set" | "reset" => {
                let value = if word(0) == "set" { word(words.len() - 1) } else { "" };
                value.clone_into(&mut self.setting);
                value.clone_into(&mut self.lasting);
                if word(0) == "set" { "SET" } else { "RESET" }
            }
            "prepare" => {
                if self.prepared.contains_key(word(1)) {
                    return Err(Fail::Error("42P05", "already exists".to_owned()));
                }
                let leaf = text.split_once(" as ").unwrap().1;
                self.prepared.insert(word(1).to_owned(), (leaf.to_owned(), text.to_owned()));
                "PREPARE"
            }
            "execute" => {
                let Some((inner, _)) = self.prepared.get(word(1)).cloned() else { return Err(missing(word(1))) };
                if depth > 3 {
                    return Err(Fail::Error("54001", "stack depth".to_owned()));
                }
                return self.run(&inner, carrier, depth + 1);
            }
            "deallocate" if word(1) == "all" => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
            "deallocate" => {
                if self.prepared.remove(word(1)).is_none() {
                    return Err(missing(word(1)));
                }
                "DEALLOCATE"
            }
            "declare" => {
                if self.tx != Tx::Block && !text.contains("hold") {
                    return Err(Fail::Error("25P01", "DECLARE CURSOR can only be used in transaction blocks".to_owned()));
                }
                if self.portals.contains_key(word(1)) {
                    return Err(Fail::Error("42P03", "cursor already exists".to_owned()));
                }
                let leaf = text.split_once(" for ").unwrap().1.to_owned();
                let portal = Portal { leaf, carrier: carrier.clone(), rows_left: 2, done: false, hold: text.contains("hold") };
                self.portals.insert(word(1).to_owned(), portal);
                "DECLARE CURSOR"
            }
            "fetch" => {
                let Some(portal) = self.portals.get_mut(word(1)) else { return Err(missing(word(1))) };
                if !portal.leaf.starts_with("select") {
                    return Err(Fail::Error("34000", "not a cursor".to_owned()));
                }
                portal.rows_left = 0;
                portal.done = true;
                let leaf = portal.leaf.clone();
                ran(self, &leaf);
                if leaf.contains("0/0") {
                    return Err(Fail::Error("22012", "division by zero".to_owned()));
                }
                "FETCH 2"
            }
            "close" if word(1) == "all" => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            "close" => {
                if self.portals.remove(word(1)).is_none() {
                    return Err(missing(word(1)));
                }
                "CLOSE CURSOR"
            }
            "discard" => {
                if self.tx == Tx::Block {
                    return Err(Fail::Error("25001", "DISCARD ALL cannot run inside a transaction block".to_owned()));
                }
                self.prepared.clear();
                self.portals.clear();
                // It commits at once, whatever follows in its pipeline.
                [&mut self.setting, &mut self.lasting, &mut self.committed].into_iter().for_each(String::clear);
                "DISCARD ALL"
            }
            other => panic!("the server was sent `{other}`"),
        };
        Ok(Some(tag.to_owned()))
    }
}

fn missing(name: &str) -> Fail {
    Fail::Error("26000", format!("{name} does not exist"))
}

fn check_syntax(text: &str) -> Result<(), Fail> {
    if text.starts_with("safeconduct") { Err(Fail::Error("42601", "syntax error".to_owned())) } else { Ok(()) }
}

fn bound(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    use safeconduct_protocol::postgres::messages::FrontendMessage;
    let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::parse(b'B', body) else { panic!() };
    bind.parameters.into_iter().map(|(_, value)| value.map(<[u8]>::to_vec)).collect()
}
