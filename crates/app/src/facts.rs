//! Facts by text: parsed on threads with big stacks, kept for texts that come again.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;
use safeconduct_model::{Operation, Resource};
use safeconduct_sql::Facts;
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES, shape};

/// Texts longer than this are parsed each time.
const CACHED_TEXT_BYTES: usize = 16 * 1024;
/// Most texts kept, and most bytes of them.
const CACHED_TEXTS: usize = 4096;
const CACHED_BYTES: usize = 8 << 20;
/// Parser threads: one bomb leaves the others to everybody else.
const THREADS: usize = 4;

type Job = (String, Arc<FunctionClasses>, mpsc::SyncSender<Facts>);

/// Facts of texts and of shapes, as the classes of one resource have them.
#[derive(Default)]
struct Known {
    facts: HashMap<Box<str>, Option<Arc<Facts>>>,
    bytes: usize,
}

/// Parses and remembers.
pub(crate) struct FactsService {
    jobs: mpsc::SyncSender<Job>,
    /// By address of the classes: while they are kept here, no others can have it.
    known: Mutex<HashMap<usize, (Arc<FunctionClasses>, Known)>>,
}

/// Most sets of classes with facts: one per resource, and a few of bundles before.
const CLASSES: usize = 1024;

impl FactsService {
    /// Starts the parser threads. They end with the service.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(64);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("sql-parser-{number}")).stack_size(PARSER_STACK_BYTES).spawn(move || {
                loop {
                    let Ok((text, functions, answer)) = queue.lock().recv() else { return };
                    // Nobody waiting any more is no error.
                    let parsed = std::panic::catch_unwind(|| safeconduct_sql::facts(&text, &functions));
                    if let Ok(facts) = parsed {
                        let _ = answer.send(facts);
                    } else {
                        // Dropping the answer says `unknown`; the thread goes on for others.
                        tracing::error!("the parser failed on a text");
                    }
                }
            })?;
        }
        Ok(Self { jobs, known: Mutex::default() })
    }

    /// Facts of a text for a resource. Blocks for the length of a parse. What can't be parsed is `unknown`.
    ///
    /// Texts of one [`shape`] share facts where these hold for all of them: clients that write values into their texts are parsed once.
    pub fn facts(&self, text: &str, functions: &Arc<FunctionClasses>) -> Arc<Facts> {
        if text.len() > CACHED_TEXT_BYTES {
            return self.parse(text, functions).unwrap_or_else(unavailable);
        }
        let shape = shape(text);
        if let Some(shape) = &shape
            && let Some(facts) = self.remembered(shape, functions, Facts::hold_for_shape)
        {
            return facts;
        }
        self.remembered(text, functions, |_| true).unwrap_or_else(unavailable)
    }

    /// Facts that are kept, or are made and kept if they are `fit`; else nothing, which is kept too.
    fn remembered(&self, text: &str, functions: &Arc<FunctionClasses>, fit: impl FnOnce(&Facts) -> bool) -> Option<Arc<Facts>> {
        let key = Arc::as_ptr(functions) as usize;
        if let Some((_, known)) = self.known.lock().get(&key)
            && let Some(facts) = known.facts.get(text)
        {
            return facts.clone();
        }
        // A parser that failed is no answer to keep.
        let facts = Some(self.parse(text, functions)?).filter(|facts| fit(facts));
        let mut known = self.known.lock();
        if known.len() >= CLASSES && !known.contains_key(&key) {
            known.clear();
        }
        known.entry(key).or_insert_with(|| (Arc::clone(functions), Known::default())).1.keep(text, facts.clone());
        facts
    }

    fn parse(&self, text: &str, functions: &Arc<FunctionClasses>) -> Option<Arc<Facts>> {
        let (answer, wait) = mpsc::sync_channel(1);
        self.jobs.send((text.to_owned(), Arc::clone(functions), answer)).ok()?;
        wait.recv().ok().map(Arc::new)
    }
}

/// What a text is while nobody can say what it is.
fn unavailable() -> Arc<Facts> {
    Arc::new(Facts {
        statements: Vec::new(),
        operations: [Operation::Unknown].into_iter().collect(),
        unparsable: Some("the parser is not available".to_owned()),
    })
}

impl Known {
    fn keep(&mut self, text: &str, facts: Option<Arc<Facts>>) {
        if self.facts.len() >= CACHED_TEXTS || self.bytes + text.len() > CACHED_BYTES {
            *self = Self::default();
        }
        self.bytes += text.len();
        self.facts.insert(text.into(), facts);
    }
}

/// The classes a resource file gives to functions of its own.
pub(crate) fn function_classes(resource: &Resource) -> FunctionClasses {
    let Some(postgres) = resource.postgres() else { return FunctionClasses::default() };
    let mut classes = FunctionClasses::new(postgres.search_path.iter().cloned());
    for (function, operation) in &postgres.functions {
        // The bundle was checked when it was parsed; an entry that can't be used leaves its function unknown.
        if classes.insert(function, *operation).is_err() {
            tracing::warn!(resource = %resource.name, %function, "unusable function class");
        }
    }
    classes
}
