//! What `policy check` says: every mistake at once, each with file, line, column and what to write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use safeconduct_policy::{Bundle, BundleFiles, MAX_FILE_BYTES, Problem};
use support::*;

const PERMIT: &str = "@id(\"a\") permit (principal, action, resource);";

#[track_caller]
fn check(policies: &str, expected: &str) {
    let found = problems(policies);
    assert!(found.contains(expected), "expected {expected}\nfound {found}");
}

fn resource_problems(text: &str) -> String {
    let mut files = files(PERMIT);
    files.files.insert("resources/db.toml".to_owned(), text.as_bytes().to_vec());
    Bundle::parse(&files).map_or_else(|problems| show(&problems), |_| String::new())
}

#[test]
fn mistakes_in_policies_have_a_place_and_a_hint() {
    assert_eq!(problems(PERMIT), "");
    check("permit (principal, action, resource);", "policies/p.cedar:1:1: policy has no id");
    check(&format!("{PERMIT}\n\n  {PERMIT}"), "policies/p.cedar:3:3: policy id `a` is already used at policies/p.cedar:1");
    check("@id(\"built-in:x\") permit (principal, action, resource);", "1 to 80 of a-z");
    check("@id(\"built-in-x\") permit (principal, action, resource);", "belong to Safeconduct");
    check("// é\n@id(\"a\") permit (principal, action == Action::\"raed\", resource);", "policies/p.cedar:2:");
    check("@id(\"a\")\npermit (principal, action, resource) when { context.exakt };", "policies/p.cedar:2:");
    check("@id(\"a\")\npermit (principal, action, resource) when { resource.nmae == \"x\" };", "attribute");
    check("@id(\"a\") permit (principal, action, resource", "policies/p.cedar:1:");
    check(
        "@id(\"a\")\npermit (principal is Person, action, resource is Resource) when { principal.costCentre == \"1\" };",
        "did you mean `costCenter`?",
    );
    check(
        "@id(\"a\")\npermit (principal is Person, action, resource is Resource) when { principal.costCenter == \"1\" };",
        "policies/p.cedar:2:",
    );
    check(
        "@id(\"a\")\npermit (principal is Person, action, resource is Resource) when { principal has title && principal.title > 1 };",
        "policies/p.cedar:2:",
    );
    check("@id(\"a\") permit (principal == ?principal, action, resource);", "policies/p.cedar:1:");
    check("@id(\"a\") @level(\"password\") permit (principal, action, resource);", "`recorded`, `signed` or `passkey`");
    check("@id(\"a\") @level(\"signed\") forbid (principal, action, resource);", "`@level` on a forbid");
    check("@id(\"a\") @max_durations(\"30m\") permit (principal, action, resource);", "did you mean `@max_duration`?");
    check("@id(\"a\") @mask(\"x\") permit (principal, action, resource);", "unknown annotation `@mask`");
    check(
        "@id(\"a\") @max_duration(\"soon\") permit (principal, action, resource);",
        "policies/p.cedar:1:10: `@max_duration`: not a duration",
    );
    check("@id(\"a\") @record(\"half\") permit (principal, action, resource);", "write `@record(\"full\")`");
    check("@id(\"a\") @audit(\"lax\") permit (principal, action, resource);", "write `@audit(\"strict\")`");
    check("@id(\"a\") @audit(\"strict\") forbid (principal, action, resource);", "obligations come with permission");
    check("@id(\"a\") permit (principal in Group::\"DBA\", action, resource);", "`DBA` is not a group name");
    check("@id(\"a\") permit (principal, action, resource == Resource::\"dd\");", "did you mean `Resource::\"db\"`?");
    check(
        "@id(\"a\") permit (principal, action, resource == Resource::\"safeconduct\");",
        "the gateway itself is `Gateway::\"safeconduct\"`",
    );
    check("@id(\"a\") permit (principal, action, resource == Gateway::\"other\");", "write `Gateway::\"safeconduct\"`");
    let everywhere = problems("@id(\"a\")\npermit (principal, action, resource) when { context.exact };");
    assert!(everywhere.contains("write `action in Action::\"access\"`"), "{everywhere}");
    let misspelt = problems("@id(\"a\")\npermit (principal, action in Action::\"access\", resource) when { context.exakt };");
    assert_eq!(misspelt.lines().count(), 2, "one mistake, its hint, not one for each action: {misspelt}");
    assert!(misspelt.starts_with("policies/p.cedar:2:") && misspelt.ends_with("hint: did you mean `exact`?"), "{misspelt}");
    check("@id(\"a\") permit (principal, action == Action::\"manage_people\", resource);", "does not name the gateway");
    check("@id(\"a\") forbid (principal, action in Action::\"administration\", resource);", "write `resource == Gateway::\"safeconduct\"`");
    check(
        "@id(\"a\") forbid (principal, action == Action::\"end_access\", resource == Gateway::\"safeconduct\");",
        "ending access is never forbidden",
    );
    check("@id(\"a\") permit (principal, action == Action::\"read\", resource == Gateway::\"safeconduct\");", "policies/p.cedar:1:");
    check(
        "@id(\"a\") permit (principal, action == Action::\"approve\", resource == AccessRequest::\"this\");",
        "may not name one access request",
    );
    check("@id(\"a\") permit (principal, action == Action::\"unrestricted\", resource == Resource::\"db\");", "danger_unrestricted = true");
    check(
        "@id(\"a\") permit (principal, action in [Action::\"read\", Action::\"unrestricted\"], resource is Resource);",
        "danger_unrestricted = true",
    );
    check(
        "@id(\"a\") forbid (principal, action in Action::\"access\", resource) when { context.approvals >= 1 };",
        "more approvals must never turn allow into deny",
    );
    check(
        "@id(\"a\") permit (principal, action in Action::\"access\", resource) when { \"a\u{202e}b\" == context.asked.reason };",
        "policies/p.cedar:1:",
    );
    check(
        "@id(\"a\") permit (principal, action in Action::\"access\", resource) when { \"\u{43e}rders\" == context.asked.reason };",
        "policies/p.cedar:1:",
    );
}

#[test]
fn every_mistake_is_reported_at_once_in_order() {
    let mut files = files(
        "permit (principal, action, resource);\n@id(\"b\") permit (principal, action == Action::\"x\", resource);\n@id(\"c\") nonsense;",
    );
    files.files.insert("policies/q.cedar".to_owned(), b"@id(\"d\") permit (principal in Group::\"A B\", action, resource);".to_vec());
    files.files.insert("resources/x.toml".to_owned(), b"kind = \"mysql\"\n".to_vec());
    files.files.insert("tests/t.toml".to_owned(), b"[[case]]\nname = 1\n".to_vec());
    files.files.insert("scripts/run.sh".to_owned(), vec![]);
    let problems = Bundle::parse(&files).unwrap_err();
    let places: Vec<(&str, usize)> = problems.iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    assert!(problems.is_sorted());
    for place in [
        ("policies/p.cedar", 1),
        ("policies/p.cedar", 2),
        ("policies/p.cedar", 3),
        ("policies/q.cedar", 1),
        ("resources/x.toml", 1),
        ("scripts/run.sh", 0),
        ("tests/t.toml", 2),
    ] {
        assert!(places.contains(&place), "{place:?} in {}", show(&problems));
    }
}

#[test]
fn resource_files_know_their_keys_and_never_hold_a_secret() {
    assert_eq!(resource_problems(RESOURCE), "");
    let with = |from: &str, to: &str| resource_problems(&RESOURCE.replace(from, to));
    let inline = with("env:PASSWORD", "hunter2-hunter2");
    assert!(inline.contains("resources/db.toml:7:") && inline.contains("not a reference to a secret"), "{inline}");
    assert!(!inline.contains("hunter2"), "a secret is not repeated: {inline}");
    for (from, to, expected) in [
        ("kind =", "name = \"db\"\nkind =", "a resource is named by its file"),
        ("kind =", "sensitivty = \"high\"\nkind =", "did you mean `sensitivity`?"),
        ("kind =", "sensitivity = \"secret\"\nkind =", "low, medium or high"),
        ("kind =", "time_zone = \"Mars/Base\"\nkind =", "no IANA time zone"),
        ("kind =", "owner = \"The DBAs\"\nkind =", "is not a group name"),
        ("kind =", "labels = { env = \"a b\" }\nkind =", "a label's key and value"),
        ("description = \"a database\"", "description = \"a\\u202eb\"", "`description`: text contains"),
        ("description = \"a database\"", "description = \"\\u043erders\"", "`description`: text contains U+043E, which looks like another"),
        ("description = \"a database\"\n", "", "`description` is missing"),
        ("\"localhost\"", "\"localhost/x\"", "host name or address"),
        ("database =", "port = 0\ndatabase =", "`postgres.port` must be a number from 1 to 65535"),
        ("database =", "port = \"5432\"\ndatabase =", "`postgres.port` must be a number"),
        ("database =", "unrestricted = true\ndatabase =", "it is spelled `danger_unrestricted`"),
        ("database =", "danger_unrestricted = \"yes\"\ndatabase =", "write true or false"),
        ("database =", "search_path = [\"pg_temp\", \"public\"]\ndatabase =", "may not hold `pg_temp`"),
        ("database =", "search_path = [\"$user\"]\ndatabase =", "may not hold `$user`"),
        ("database =", "hold = \"2d\"\ndatabase =", "`postgres.hold` is a duration"),
        ("database =", "functions = { total = \"read\" }\ndatabase =", "names no function"),
        ("database =", "functions = { \"public.total\" = \"unrestricted\" }\ndatabase =", "a function's class is"),
        ("tls.danger_disabled = true\n", "", "does not say how the server is verified"),
        ("tls.danger_disabled = true", "tls = { ca_file = \"ca.pem\" }", "absolute path"),
        ("tls.danger_disabled = true", "tls = { ca_file = \"/ca.pem\", danger_disabled = true }", "asks for TLS and disables it"),
        ("kind = \"postgres\"", "kind = \"postgres", "resources/db.toml:2:"),
    ] {
        let found = with(from, to);
        assert!(found.contains(expected), "{to}: expected {expected}\nfound {found}");
    }
    let mut files = files("");
    files.files.insert("resources/safeconduct.toml".to_owned(), RESOURCE.as_bytes().to_vec());
    files.files.insert("resources/Orders.toml".to_owned(), RESOURCE.as_bytes().to_vec());
    let found = show(&Bundle::parse(&files).unwrap_err());
    assert!(found.contains("`safeconduct` is the gateway itself") && found.contains("`Orders` is not a resource name"), "{found}");
}

#[test]
fn resource_defaults_are_the_documented_ones() {
    let bundle = bundle("");
    let resource = resource(&bundle, "db");
    let postgres = resource.postgres().unwrap();
    assert_eq!((postgres.port, postgres.search_path.as_slice()), (5432, ["public".to_owned()].as_slice()));
    assert_eq!((postgres.hold.seconds(), postgres.hold_in_transaction.seconds()), (900, 60));
    assert_eq!((resource.time_zone.as_str(), resource.sensitivity.name(), postgres.danger_unrestricted), ("UTC", "medium", false));
}

#[test]
fn f49_sizes_and_nesting_are_bounded() {
    let parse = |policies: Vec<u8>| {
        let mut files = files("");
        files.files.insert("policies/p.cedar".to_owned(), policies);
        Bundle::parse(&files)
    };
    let message = |problems: Vec<Problem>| show(&problems);
    assert!(message(parse(vec![b' '; MAX_FILE_BYTES + 1]).unwrap_err()).contains("larger than 256 KiB"));
    assert!(message(parse(vec![0xff]).unwrap_err()).contains("not UTF-8"));
    let nested = format!("@id(\"a\") permit (principal, action, resource) when {{ {}true{} }};", "(".repeat(60_000), ")".repeat(60_000));
    assert!(message(parse(nested.into_bytes()).unwrap_err()).contains("more than 24 brackets"));
    let chain = format!("@id(\"a\") permit (principal, action, resource) when {{ true{} }};", " && true".repeat(7_000));
    assert!(message(parse(chain.into_bytes()).unwrap_err()).contains("joins more than 100 conditions"));
    // At the bound it parses, is checked and decides whatever stack the caller has.
    let deep = format!("@id(\"a\") permit (principal, action, resource) when {{ {}true{} }};", "(true && ".repeat(21), ")".repeat(21));
    assert!(parse(deep.into_bytes()).is_ok());
    let most = format!(
        "@id(\"a\") permit (principal, action, resource) when {{ {}1{} > 0{} }};",
        "(".repeat(21),
        " + 1".repeat(98),
        ")".repeat(21)
    );
    assert!(parse(most.into_bytes()).is_ok());
    for chain in [".a".repeat(50), "[\"a\"]".repeat(50)] {
        let text = format!("@id(\"a\") permit (principal, action, resource) when {{ resource{chain} }};");
        assert!(message(parse(text.into_bytes()).unwrap_err()).contains("in a row"));
    }
    let long = format!("@id(\"a\") permit (principal, action, resource) when {{ true{} }};", " && principal.name != \"x\"".repeat(99));
    let long = parse(long.into_bytes()).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let decision =
        decide(&long, &person("alice", &[]), "db", &[safeconduct_model::Operation::Read], safeconduct_policy::Approvals::Unknown);
    assert_eq!(decision.outcome, safeconduct_model::Outcome::Allow, "{decision:?}");
    let mut files = BundleFiles::default();
    for n in 0..17 {
        files.files.insert(format!("policies/p{n}.cedar"), vec![b'\n'; 250 * 1024]);
    }
    assert!(message(Bundle::parse(&files).unwrap_err()).contains("more than 4 MiB"));
}

#[test]
fn f49_more_groups_of_approvers_than_can_be_tried_are_refused() {
    let six: String = (0..6)
        .map(|n| format!("@id(\"p{n}\") permit (principal, action == Action::\"read\", resource) when {{ context.approved_by.contains(Group::\"g{n}\") }};\n"))
        .collect();
    assert_eq!(problems(&six), "");
    let seven = format!(
        "{six}@id(\"p7\") permit (principal, action == Action::\"read\", resource) when {{ context.approved_by.contains(Group::\"g7\") }};"
    );
    check(&seven, "more than 6 groups of approvers");
    let elsewhere = format!(
        "{six}@id(\"p7\") permit (principal, action == Action::\"write\", resource) when {{ context.approved_by.contains(Group::\"g7\") }};"
    );
    assert_eq!(problems(&elsewhere), "");
}

#[test]
fn the_hash_changes_with_every_byte_and_every_name() {
    let one = files(PERMIT);
    let mut moved = one.clone();
    let text = moved.files.remove("policies/p.cedar").unwrap();
    moved.files.insert("policies/q.cedar".to_owned(), text);
    let edited = files(&format!("{PERMIT} "));
    let hashes: std::collections::BTreeSet<_> = [&one, &moved, &edited].into_iter().map(BundleFiles::hash).collect();
    assert_eq!(hashes.len(), 3);
    assert_eq!(Bundle::parse(&one).unwrap().hash, one.hash());
}

#[test]
fn a_case_that_fails_says_what_came_instead() {
    let mut files =
        files("@id(\"r\") @max_duration(\"1h\") permit (principal, action == Action::\"read\", resource) when { context.approvals >= 2 };");
    let cases = "[people]\nalice = []\n\n[[case]]\nname = \"x\"\nprincipal = \"alice\"\nresource = \"db\"\noperations = [\"read\"]\nexpect = \"allow\"\nquorum = \"one of dba\"\nlevel = \"signed\"\nmax_duration = \"30m\"\npolicies = [\"s\"]\n";
    files.files.insert("tests/t.toml".to_owned(), cases.as_bytes().to_vec());
    let results = Bundle::parse(&files).unwrap().run_tests();
    let result = results.first().unwrap();
    assert_eq!((result.line, result.passed()), (4, false));
    assert_eq!(
        result.differences,
        [
            "expected outcome allow, got need_approval",
            "expected quorum \"one of dba\", got \"2 other people\"",
            "expected max_duration 30m, got 1h",
            "expected level signed, got recorded",
            "expected policies s, got r",
        ]
    );
    files
        .files
        .insert("tests/t.toml".to_owned(), cases.replace("alice\"\nres", "alcie\"\nres").replace("\"read\"", "\"raed\"").into_bytes());
    let found = show(&Bundle::parse(&files).unwrap_err());
    assert!(
        found.contains("tests/t.toml:6:13: `alcie` is not among") && found.contains("tests/t.toml:8:15: unknown operation `raed`"),
        "{found}"
    );
}

#[test]
fn a_file_of_cases_says_what_scim_would_say_of_its_people() {
    let mut files = files(
        "@id(\"r\") permit (principal is Person, action == Action::\"read\", resource is Resource)
         when { principal has costCenter && principal.costCenter == \"4711\" && principal has userType && principal.userType == \"Employee\" };
         @id(\"s\") permit (principal, action == Action::\"approve\", resource in Resource::\"db\")
         when { resource has requester_costCenter && resource.requester_costCenter == \"4711\" };",
    );
    let cases = "[people]\nalice = []\nbob = []\n\n[attributes.alice]\ncostCenter = \"4711\"\nuserType = \"Employee\"\n\n\
                 [[case]]\nname = \"alice reads\"\nprincipal = \"alice\"\nresource = \"db\"\noperations = [\"read\"]\nexpect = \"allow\"\n\
                 [[case]]\nname = \"bob does not\"\nprincipal = \"bob\"\nresource = \"db\"\noperations = [\"read\"]\nexpect = \"deny\"\n\
                 [[approval]]\nname = \"of alice\"\napprover = \"bob\"\nrequester = \"alice\"\nresource = \"db\"\noperations = [\"read\"]\nexpect = \"may\"\n\
                 [[approval]]\nname = \"of bob\"\napprover = \"alice\"\nrequester = \"bob\"\nresource = \"db\"\noperations = [\"read\"]\nexpect = \"may not\"\n";
    files.files.insert("tests/t.toml".to_owned(), cases.as_bytes().to_vec());
    let results = Bundle::parse(&files).unwrap_or_else(|problems| panic!("{}", show(&problems))).run_tests();
    assert_eq!(results.iter().filter(|result| result.passed()).count(), 4, "{results:?}");
    for (said, instead, expected) in [
        ("costCenter =", "costCentre =", "tests/t.toml:6:1: unknown key `attributes.alice.costCentre`\n  hint: did you mean `costCenter`?"),
        ("\"4711\"", "4711", "tests/t.toml:6:14: `attributes.alice.costCenter` is a integer; write text in quotes"),
        ("attributes.alice", "attributes.eve", "tests/t.toml:5:1: `eve` is not among `people`"),
        ("[attributes.alice]", "[attributes]\nalice = 1\n[x]", "`attributes.alice` is a integer; write a table"),
    ] {
        files.files.insert("tests/t.toml".to_owned(), cases.replacen(said, instead, 1).into_bytes());
        let found = show(&Bundle::parse(&files).unwrap_err());
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn minted_credentials_name_what_each_operation_gives() {
    let with = |credentials: &str| {
        let shared = "credentials = { user = \"u\", password = \"env:PASSWORD\" }";
        assert!(RESOURCE.contains(shared));
        resource_problems(
            &RESOURCE.replace(shared, &format!("credentials = {{ user = \"u\", password = \"env:PASSWORD\", {credentials} }}")),
        )
    };
    assert_eq!(with("kind = \"static\""), "");
    assert_eq!(with("kind = \"minted\", owner = \"o\", roles = { read = [\"r\"], write = [\"r\", \"W x\"], unknown = [] }"), "");
    for (credentials, expected) in [
        ("kind = \"minted\"", "names no role"),
        ("kind = \"mint\"", "is static or minted"),
        ("kind = \"minted\", roles = { raed = [\"r\"] }", "did you mean `read`?"),
        ("kind = \"minted\", roles = { manage_people = [\"r\"], read = [\"r\"] }", "unknown key"),
        ("kind = \"minted\", roles = { read = \"r\" }", "a list of texts"),
        ("kind = \"minted\", roles = { read = [\"\"] }", "not a PostgreSQL name"),
        ("kind = \"minted\", roles = { read = [\"u\"] }", "names the gateway's own account"),
        ("kind = \"minted\", roles = { read = [\"safeconduct_x\"] }", "named like the roles of sessions"),
        ("roles = { read = [\"r\"] }", "unknown key `postgres.credentials.roles`"),
        ("kind = \"minted\", password = \"hunter2\", roles = { read = [\"r\"] }", "duplicate"),
    ] {
        let found = with(credentials);
        assert!(found.contains(expected), "{credentials}: expected {expected}\nfound {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
