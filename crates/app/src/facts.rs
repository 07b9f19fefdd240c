//! Facts by text: parsed on threads with big stacks, kept for texts that come again.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;
use safeconduct_model::{Operation, Resource};
use safeconduct_sql::Facts;
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES, shape};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Texts longer than this are parsed each time.
const CACHED_TEXT_BYTES: usize = 16 * 1024;
/// Most texts kept, and most bytes of them.
const CACHED_TEXTS: usize = 4096;
const CACHED_BYTES: usize = 8 << 20;
/// Parser threads: one bomb leaves the others to everybody else.
const THREADS: usize = 4;

type Job = (String, Arc<FunctionClasses>, mpsc::SyncSender<Facts>);

/// Facts as the classes of one resource have them. A text can be another's shape: they are kept apart.
struct Known {
    /// While they are kept here, no others can have their address.
    _classes: Arc<FunctionClasses>,
    shapes: Texts,
    texts: Texts,
}

/// Facts by text; nothing where they are of no use.
#[derive(Default)]
struct Texts {
    facts: HashMap<Box<str>, Option<Arc<Facts>>>,
    bytes: usize,
}

/// Parses and remembers.
pub(crate) struct FactsService {
    jobs: mpsc::SyncSender<Job>,
    /// By address of the classes.
    known: Mutex<HashMap<usize, Known>>,
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
        if let Some(shape) = shape(text)
            && let Some(facts) = self.remembered(&shape, functions, |known| &mut known.shapes, Facts::hold_for_shape)
        {
            return facts;
        }
        self.remembered(text, functions, |known| &mut known.texts, |_| true).unwrap_or_else(unavailable)
    }

    /// Facts that are kept, or are made and kept if they are `fit`; else nothing, which is kept too.
    fn remembered(
        &self,
        text: &str,
        functions: &Arc<FunctionClasses>,
        place: fn(&mut Known) -> &mut Texts,
        fit: fn(&Facts) -> bool,
    ) -> Option<Arc<Facts>> {
        let key = Arc::as_ptr(functions) as usize;
        if let Some(known) = self.known.lock().get_mut(&key)
            && let Some(facts) = place(known).facts.get(text)
        {
            return facts.clone();
        }
        // A parser that failed is no answer to keep.
        let facts = Some(self.parse(text, functions)?).filter(|facts| fit(facts));
        let mut known = self.known.lock();
        if known.len() >= CLASSES && !known.contains_key(&key) {
            known.clear();
        }
        let new = || Known { _classes: Arc::clone(functions), shapes: Texts::default(), texts: Texts::default() };
        place(known.entry(key).or_insert_with(new)).keep(text, facts.clone());
        facts
    }

    fn parse(&self, text: &str, functions: &Arc<FunctionClasses>) -> Option<Arc<Facts>> {
        let (answer, wait) = mpsc::sync_channel(1);
        self.jobs.send((text.to_owned(), Arc::clone(functions), answer)).ok()?;
        // Others go on meanwhile, whatever the parser makes of this text.
        let shared = Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
        let parsed = if shared { tokio::task::block_in_place(|| wait.recv()) } else { wait.recv() };
        parsed.ok().map(Arc::new)
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

impl Texts {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f30_a_text_that_is_anothers_shape_has_facts_of_its_own() {
        let (service, classes) = (FactsService::start().unwrap(), Arc::new(FunctionClasses::default()));
        let harmless = |text: &str| !service.facts(text, &classes).operations.contains(Operation::Unknown);
        // The shape is of no use to its texts: each is understood by itself, before and after.
        for _ in 0..2 {
            assert!(harmless("select set_config('jit', 'off', false)"));
            assert!(!harmless("select set_config('xxx', 'xxx', false)"));
            assert!(harmless("select 1; close all"));
        }
        // And one that is of use is shared.
        let (first, second) =
            (service.facts("select a from t where id = 1", &classes), service.facts("select a from t where id = 7", &classes));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!harmless("select my_function(7)"));
    }
}
