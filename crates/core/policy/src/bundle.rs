//! Bundles: a directory's files become resources, policies and tests, or a list of everything that is wrong with them. Reads no files itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{Authorizer, Schema};
use jiff::tz::TimeZoneDatabase;
use safeconduct_model::{Digest, GroupName, Operation, Resource, ResourceName};

use crate::{
    case::{self, Case},
    policy::{BUILT_IN, Policy, Rule, SCHEMA, Target},
    policy_file,
    problem::Problem,
    resource_file,
    restrict::MAX_GROUPS,
    scopes::Scopes,
    statements::with_stack,
};

/// Most bytes of all files together.
pub const MAX_BUNDLE_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of one file.
pub const MAX_FILE_BYTES: usize = 256 * 1024;
/// Most policies of a bundle.
pub const MAX_POLICIES: usize = 10_000;
/// Most problems worth reading.
const MAX_PROBLEMS: usize = 1_000;
/// Most files of a bundle.
pub const MAX_FILES: usize = 10_000;

/// A bundle's files by their path inside it, with `/` between folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleFiles {
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Resources, policies and tests that belong together.
#[derive(Debug)]
pub struct Bundle {
    /// Changes with every byte of every file, and with nothing else.
    pub hash: Digest,
    /// Every resource by name; the gateway itself (`safeconduct`) is always among them.
    pub resources: BTreeMap<ResourceName, Arc<Resource>>,
    pub policy: Arc<Policy>,
    pub tests: Vec<Case>,
}

impl BundleFiles {
    /// Hash over every path and every byte, in the order of the paths.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut bytes = b"safeconduct bundle v1\n".to_vec();
        for (path, content) in &self.files {
            for part in [path.as_bytes(), content.as_slice()] {
                bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                bytes.extend_from_slice(part);
            }
        }
        Digest::of_bytes(&bytes)
    }
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// Every [`Problem`] that was found, in the order of files and lines.
    pub fn parse(files: &BundleFiles) -> Result<Self, Vec<Problem>> {
        with_stack(|| Self::parse_here(files))
    }

    fn parse_here(files: &BundleFiles) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let sorted = sort(files, &mut problems);
        if sorted.too_large {
            return Err(problems);
        }
        let zones = TimeZoneDatabase::bundled();
        let resources = resources(&sorted, &zones, &mut problems);
        let schema = match Schema::from_cedarschema_str(SCHEMA) {
            Ok((schema, _)) => schema,
            Err(error) => return Err(vec![Problem::whole("", format!("the built-in schema is broken: {error}"))]),
        };
        let rules = rules(&sorted, &resources, &schema, &mut problems);
        let tests: Vec<Case> = sorted.tests.iter().flat_map(|(file, text)| case::parse(file, text, &resources, &mut problems)).collect();
        let scopes = Scopes::of(&rules, &mut problems);
        if !problems.is_empty() {
            problems.sort();
            problems.dedup();
            return Err(problems);
        }
        let hash = files.hash();
        let approvers_by_groups = !rules.values().any(|rule| rule.tells_approvers_apart());
        let policy = Arc::new(Policy { approvers_by_groups, rules, scopes, schema, authorizer: Authorizer::new(), zones, hash });
        Ok(Self { hash, resources, policy, tests })
    }

    /// A resource by name.
    #[must_use]
    pub fn resource(&self, name: &ResourceName) -> Option<&Arc<Resource>> {
        self.resources.get(name)
    }
}

/// The files by what they are.
#[derive(Default)]
struct Sorted<'a> {
    resources: Vec<(&'a str, &'a str, &'a str)>,
    policies: Vec<(&'a str, &'a str)>,
    tests: Vec<(&'a str, &'a str)>,
    too_large: bool,
}

fn sort<'a>(files: &'a BundleFiles, problems: &mut Vec<Problem>) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    let total: usize = files.files.values().map(Vec::len).sum();
    if total > MAX_BUNDLE_BYTES || files.files.len() > MAX_FILES {
        problems.push(Problem::whole("", "bundle has more than 4 MiB or more than 10,000 files"));
        sorted.too_large = true;
        return sorted;
    }
    for (path, bytes) in &files.files {
        if path.len() > 255 || path.chars().any(char::is_control) {
            problems.push(Problem::whole("", "a path in the bundle is longer than 255 bytes or holds control characters"));
            continue;
        }
        if bytes.len() > MAX_FILE_BYTES {
            problems.push(
                Problem::whole(path, "file is larger than 256 KiB").hint("split it: policies and tests may be in any number of files"),
            );
            continue;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            problems.push(Problem::whole(path, "file is not UTF-8 text"));
            continue;
        };
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["resources", name] if name.ends_with(".toml") => sorted.resources.push((path, name.trim_end_matches(".toml"), text)),
            ["policies", name] if name.ends_with(".cedar") => sorted.policies.push((path, text)),
            ["tests", name] if name.ends_with(".toml") => sorted.tests.push((path, text)),
            [name] if name.ends_with(".md") => {}
            _ => {
                let hint = "a bundle holds resources/NAME.toml, policies/NAME.cedar, tests/NAME.toml and notes in NAME.md";
                problems.push(Problem::whole(path, "file has no place in a bundle").hint(hint));
            }
        }
    }
    sorted
}

fn resources(sorted: &Sorted<'_>, zones: &TimeZoneDatabase, problems: &mut Vec<Problem>) -> BTreeMap<ResourceName, Arc<Resource>> {
    let mut resources = BTreeMap::new();
    for (file, stem, text) in &sorted.resources {
        match stem.parse::<ResourceName>() {
            Ok(name) if name.as_str() == Resource::SAFECONDUCT => {
                problems.push(Problem::whole(file, "`safeconduct` is the gateway itself").hint("choose another name for this resource"));
            }
            Ok(name) => {
                // A file with mistakes still reserves its name: policies that name it are not wrong.
                if let Some(resource) = resource_file::parse(file, name.clone(), text, zones, problems) {
                    resources.insert(name, Arc::new(resource));
                } else {
                    resources.insert(name.clone(), Arc::new(resource_file::gateway(name)));
                }
            }
            Err(error) => problems.push(Problem::whole(file, error.to_string())),
        }
    }
    if let Ok(name) = Resource::SAFECONDUCT.parse::<ResourceName>() {
        resources.insert(name.clone(), Arc::new(resource_file::gateway(name)));
    }
    resources
}

fn rules(
    sorted: &Sorted<'_>,
    resources: &BTreeMap<ResourceName, Arc<Resource>>,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<Rule>> {
    let mut rules = BTreeMap::new();
    policy_file::parse(policy_file::BUILT_IN, BUILT_IN, resources, &mut rules, problems);
    let built_in = rules.len();
    for (file, text) in &sorted.policies {
        policy_file::parse(file, text, resources, &mut rules, problems);
        if problems.len() > MAX_PROBLEMS {
            problems.push(Problem::whole("", "too many mistakes; the rest of the bundle was not read"));
            return rules;
        }
        if rules.len() - built_in > MAX_POLICIES {
            problems.push(Problem::whole("", "bundle has more than 10,000 policies"));
            return rules;
        }
    }
    let mut texts: BTreeMap<&str, &str> = sorted.policies.iter().copied().collect();
    texts.insert(policy_file::BUILT_IN, BUILT_IN);
    policy_file::validate(&rules, &texts, schema, problems);
    too_many_groups(&rules, problems);
    rules
}

/// The engine tries every subset of the groups that are named for one question: six at most.
fn too_many_groups(rules: &BTreeMap<String, Arc<Rule>>, problems: &mut Vec<Problem>) {
    for operation in Operation::ALL {
        let mut named: BTreeMap<Target, BTreeSet<&GroupName>> = BTreeMap::new();
        for rule in rules.values().filter(|rule| !rule.approvals.groups.is_empty()) {
            if let Some(target) = rule.target(operation) {
                named.entry(target).or_default().extend(&rule.approvals.groups);
            }
        }
        let everywhere = named.get(&Target::Any).cloned().unwrap_or_default();
        for (target, groups) in named {
            let groups: BTreeSet<&GroupName> = groups.union(&everywhere).copied().collect();
            if groups.len() > MAX_GROUPS {
                let names = groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(", ");
                let place = match target {
                    Target::Any => String::new(),
                    Target::Named(name) => format!(" on `{name}`"),
                };
                let message = format!("policies for {operation}{place} name more than {MAX_GROUPS} groups of approvers: {names}");
                problems
                    .push(Problem::whole("", message).hint("use fewer groups, or say in the policies' scope which resource each is for"));
            }
        }
    }
}
