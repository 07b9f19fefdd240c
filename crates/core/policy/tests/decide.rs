//! Decisions: default deny, forbids that stay absolute, quorums worked out and filled, rules no policy can lift.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use safeconduct_model::{Operation, OperationSet, Outcome, PrincipalKind, Ttl};
use safeconduct_policy::{ApprovalQuestion, Approvals, AskedContext, Bundle, BundleFiles, Evaluation, FactsContext, NowContext, summary};
use support::*;

fn answer(bundle: &Bundle, operations: &[Operation], approvals: Approvals<'_>) -> String {
    summary(&decide(bundle, &person("alice", &["engineers"]), "db", operations, approvals))
}

#[test]
fn f21_without_policies_without_operations_without_membership_everything_is_denied() {
    let empty = bundle("");
    assert_eq!(answer(&empty, &[Operation::Read], Approvals::Unknown), "deny");
    assert_eq!(answer(&empty, &[Operation::Read], Approvals::Given(&[counted("bob", &["dba"])])), "deny");
    let open = bundle("@id(\"all\") permit (principal, action, resource);");
    assert_eq!(answer(&open, &[Operation::Read], Approvals::Unknown), "allow");
    assert_eq!(answer(&open, &[], Approvals::Unknown), "deny");
    let members = bundle("@id(\"dba\") permit (principal in Group::\"dba\", action, resource);");
    assert_eq!(answer(&members, &[Operation::Read], Approvals::Unknown), "deny");
    let nobody = bundle(
        "@id(\"list\") permit (principal, action == Action::\"read\", resource) when { context.now has facts && context.now.facts.objects.contains(\"public.a\") };",
    );
    assert_eq!(answer(&nobody, &[Operation::Read], Approvals::Unknown), "deny", "a missing fact allows nothing");
    assert_eq!(Bundle::parse(&BundleFiles::default()).unwrap().resources.len(), 1, "only the gateway itself");
    assert_eq!(decide(&empty, &person("alice", &[]), "db", &[Operation::Read], Approvals::Unknown).reasons.first().unwrap().effect, "none");
}

#[test]
fn f21_a_disabled_principal_is_denied_whatever_policy_says() {
    let open = bundle("@id(\"all\") permit (principal, action, resource);");
    let mut alice = person("alice", &[]);
    alice.disabled = true;
    assert_eq!(decide(&open, &alice, "db", &[Operation::Read], Approvals::Unknown).outcome, Outcome::Deny);
}

#[test]
fn f49_a_policy_that_fails_denies_even_if_another_permits() {
    let failing = bundle(
        "@id(\"all\") permit (principal, action in Action::\"access\", resource);
         @id(\"bad\") forbid (principal, action in Action::\"access\", resource) when { 9223372036854775807 + context.now.hour > 0 };",
    );
    let decision = decide(&failing, &person("alice", &[]), "db", &[Operation::Read], Approvals::Unknown);
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.reasons.first().map(|reason| (reason.policy_id.as_str(), reason.effect.as_str())), Some(("bad", "error")));
    // An error that only some approvals would reach denies from the beginning: approving never makes it worse.
    let later = bundle(
        "@id(\"all\") permit (principal, action in Action::\"access\", resource);
         @id(\"bad\") permit (principal, action in Action::\"access\", resource) when { context.approvals >= 1 && 9223372036854775807 + context.now.hour > 0 };",
    );
    assert_eq!(answer(&later, &[Operation::Read], Approvals::Unknown), "deny");
    assert_eq!(answer(&later, &[Operation::Read], Approvals::Given(&[])), "deny");
}

#[test]
fn f49_questions_too_large_for_policy_are_denied() {
    let open = bundle("@id(\"all\") permit (principal, action, resource);");
    let alice = person("alice", &[]);
    let ask = |asked: &AskedContext, now: &NowContext| {
        let operations = OperationSet::from_iter([Operation::Read]);
        open.policy
            .decide(&Evaluation {
                principal: &alice,
                resource: resource(&open, "db"),
                operations: &operations,
                exact: true,
                asked,
                now,
                approvals: Approvals::Unknown,
            })
            .outcome
    };
    assert_eq!(ask(&asked(), &now()), Outcome::Allow);
    assert_eq!(ask(&AskedContext { reason: "x".repeat(300_000), ..asked() }, &now()), Outcome::Deny);
    let facts = FactsContext { objects: (0..3000).map(|n| format!("public.t{n}")).collect(), ..FactsContext::default() };
    assert_eq!(ask(&asked(), &NowContext { facts: Some(facts), ..now() }), Outcome::Deny);
}

#[test]
fn f55_a_freeze_is_a_policy_that_forbids_and_leaves_ending_access_and_lifting_it_alone() {
    let frozen = bundle(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"freeze\") forbid (principal, action, resource);",
    );
    let everyone = [counted("bob", &["dba"]), counted("dora", &["dba", "administrators"])];
    assert_eq!(answer(&frozen, &[Operation::Read], Approvals::Unknown), "deny");
    assert_eq!(answer(&frozen, &[Operation::Read], Approvals::Given(&everyone)), "deny");
    let ann = person("ann", &["administrators"]);
    assert_eq!(decide(&frozen, &ann, "safeconduct", &[Operation::EndAccess], Approvals::Unknown).outcome, Outcome::Allow);
    assert_eq!(decide(&frozen, &ann, "safeconduct", &[Operation::ApplyPolicy], Approvals::Given(&everyone)).outcome, Outcome::Allow);
}

#[test]
fn f55_the_demo_freeze_works_once_the_slashes_are_gone() {
    let mut files = demo_files();
    let text = String::from_utf8(files.files.remove("policies/freeze.cedar").unwrap()).unwrap();
    let at = text.find("// @id").unwrap();
    let thawed = text[at..].replace("// ", "").replace("//", "");
    files.files.insert("policies/freeze.cedar".to_owned(), thawed.into_bytes());
    files.files.retain(|path, _| !path.starts_with("tests/"));
    let frozen = Bundle::parse(&files).unwrap();
    let alice = person("alice", &["engineers"]);
    let approved = [counted("bob", &["dba"])];
    assert_eq!(decide(&demo(), &alice, "orders-db", &[Operation::Write], Approvals::Given(&approved)).outcome, Outcome::Allow);
    assert_eq!(decide(&frozen, &alice, "orders-db", &[Operation::Write], Approvals::Given(&approved)).outcome, Outcome::Deny);
    assert_eq!(decide(&frozen, &alice, "orders-db", &[Operation::Read], Approvals::Unknown).outcome, Outcome::Allow);
}

#[test]
fn broad_policies_give_nobody_the_gateway_and_bundles_cannot_drop_the_other_administrator() {
    let open = bundle("@id(\"all\") permit (principal, action, resource);");
    let everyone = [counted("bob", &["dba"]), counted("abe", &["administrators"])];
    for operation in Operation::ALL.into_iter().filter(|operation| operation.is_administration()) {
        let decision = decide(&open, &person("alice", &["engineers"]), "safeconduct", &[operation], Approvals::Given(&everyone));
        assert_eq!(decision.outcome, Outcome::Deny, "{operation}");
    }
    // Said on purpose, others may ask; another administrator is needed all the same, even where the asker would be the only one.
    let named = bundle(
        "@id(\"hr\") permit (principal in Group::\"hr\", action == Action::\"manage_people\", resource == Gateway::\"safeconduct\");",
    );
    let helen = person("helen", &["hr"]);
    assert_eq!(
        summary(&decide(&named, &helen, "safeconduct", &[Operation::ManagePeople], Approvals::Unknown)),
        "approval: one of administrators"
    );
    assert_eq!(
        decide(&named, &helen, "safeconduct", &[Operation::ManagePeople], Approvals::Given(&[counted("bob", &["hr"])])).outcome,
        decide(&named, &helen, "safeconduct", &[Operation::ManagePeople], Approvals::Unknown).outcome
    );
    assert_eq!(decide(&named, &helen, "safeconduct", &[Operation::ManageGroups], Approvals::Given(&everyone)).outcome, Outcome::Deny);
}

#[test]
fn operations_belong_to_kinds_and_some_are_never_windows() {
    let open = bundle("@id(\"all\") permit (principal, action, resource);");
    let ann = person("ann", &["administrators"]);
    assert_eq!(decide(&open, &ann, "safeconduct", &[Operation::Read], Approvals::Unknown).outcome, Outcome::Deny);
    assert_eq!(decide(&open, &ann, "db", &[Operation::ManagePeople], Approvals::Unknown).outcome, Outcome::Deny);
    assert_eq!(
        decide(&open, &ann, "db", &[Operation::Unrestricted], Approvals::Unknown).outcome,
        Outcome::Deny,
        "danger_unrestricted is not set"
    );
    assert_eq!(decide(&open, &ann, "db", &[Operation::Unknown], Approvals::Unknown).outcome, Outcome::Allow, "exact");
    for (what, operation) in [("db", Operation::Unknown), ("safeconduct", Operation::ManagePeople)] {
        let window = Evaluation {
            principal: &ann,
            resource: resource(&open, what),
            operations: &OperationSet::from_iter([operation]),
            exact: false,
            asked: &asked(),
            now: &now(),
            approvals: Approvals::Unknown,
        };
        assert_eq!(open.policy.decide(&window).outcome, Outcome::Deny, "{operation}");
    }
    assert_eq!(decide(&open, &ann, "db", &[Operation::Connect], Approvals::Unknown).outcome, Outcome::Allow);
    let writes = bundle("@id(\"w\") permit (principal, action == Action::\"write\", resource);");
    assert_eq!(
        decide(&writes, &ann, "db", &[Operation::Connect], Approvals::Unknown).outcome,
        Outcome::Deny,
        "connect alone is as much as read"
    );
}

#[test]
fn what_forbids_a_write_forbids_unrestricted_too() {
    let dangerous = RESOURCE.replace("database =", "danger_unrestricted = true\ndatabase =");
    let with = |policies: &str| {
        let mut files = files(policies);
        files.files.insert("resources/db.toml".to_owned(), dangerous.clone().into_bytes());
        Bundle::parse(&files).unwrap_or_else(|problems| panic!("{}", show(&problems)))
    };
    let permit = "@id(\"u\") permit (principal, action == Action::\"unrestricted\", resource == Resource::\"db\");";
    assert_eq!(answer(&with(permit), &[Operation::Unrestricted], Approvals::Unknown), "allow");
    let forbid = format!("{permit} @id(\"f\") forbid (principal, action == Action::\"ddl\", resource);");
    assert_eq!(answer(&with(&forbid), &[Operation::Unrestricted], Approvals::Unknown), "deny");
    let gated = format!("{permit} @id(\"f\") forbid (principal, action == Action::\"ddl\", resource) unless {{ context.approvals >= 2 }};");
    assert_eq!(answer(&with(&gated), &[Operation::Unrestricted], Approvals::Unknown), "approval: 2 other people");
}

#[test]
fn quorums_are_minimal_joined_and_filled_by_different_people() {
    let two = bundle(
        "@id(\"w\") permit (principal, action == Action::\"write\", resource) when { context.approved_by.contains(Group::\"dba\") && context.approved_by.contains(Group::\"owner\") };
         @id(\"w3\") permit (principal, action == Action::\"write\", resource) when { context.approvals >= 3 };
         @id(\"r\") permit (principal, action == Action::\"read\", resource) when { context.approvals >= 1 && context.approved_by.contains(Group::\"security\") };",
    );
    assert_eq!(answer(&two, &[Operation::Write], Approvals::Unknown), "approval: one each of dba, owner or 3 other people");
    assert_eq!(
        answer(&two, &[Operation::Read, Operation::Write], Approvals::Unknown),
        "approval: 3 people, one of them of security",
        "whoever brings one each of the three groups brings three people"
    );
    // The policies alone would take one person in both groups for two; the quorum does not.
    let both = [counted("bob", &["dba", "owner"])];
    assert_eq!(answer(&two, &[Operation::Write], Approvals::Given(&both)), "approval: one each of dba, owner or 3 other people");
    let pair = [counted("bob", &["dba", "owner"]), counted("dora", &["dba"])];
    assert_eq!(answer(&two, &[Operation::Write], Approvals::Given(&pair)), "allow");
    let same = [counted("bob", &["dba"]), counted("bob", &["owner"])];
    assert_eq!(answer(&two, &[Operation::Write], Approvals::Given(&same)), "approval: one each of dba, owner or 3 other people");
}

#[test]
fn obligations_are_the_strictest_and_a_longer_ask_is_refused_with_the_limit() {
    let strict = bundle(
        "@id(\"a\") @max_duration(\"30m\") permit (principal, action == Action::\"read\", resource);
         @id(\"b\") @max_duration(\"1h\") @audit(\"strict\") permit (principal, action == Action::\"read\", resource);
         @id(\"c\") @record(\"full\") permit (principal, action == Action::\"write\", resource) when { context.approvals >= 1 };",
    );
    assert_eq!(answer(&strict, &[Operation::Read], Approvals::Unknown), "allow [at most 30m] [strict audit]");
    assert_eq!(
        answer(&strict, &[Operation::Read, Operation::Write], Approvals::Unknown),
        "approval: one other person [at most 30m] [recorded in full] [strict audit]"
    );
    let long = AskedContext { duration: Ttl::from_seconds(1801).unwrap(), ..asked() };
    let decision = strict.policy.decide(&Evaluation {
        principal: &person("alice", &[]),
        resource: resource(&strict, "db"),
        operations: &OperationSet::from_iter([Operation::Read]),
        exact: false,
        asked: &long,
        now: &now(),
        approvals: Approvals::Unknown,
    });
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.reasons.first().unwrap().text, "`a` allows at most 30m, asked for was 30m1s; ask for 30m or less");
    assert_eq!(decision.obligations.max_duration, Some(Ttl::from_seconds(1800).unwrap()));
}

#[test]
fn hour_and_weekday_are_the_resources_own() {
    let zoned = RESOURCE.replace("kind =", "time_zone = \"Pacific/Auckland\"\nkind =");
    let mut files = files(
        "@id(\"office\") permit (principal, action == Action::\"read\", resource) when { context.now.hour >= 9 && context.now.hour < 17 && context.now.weekday == \"tuesday\" };",
    );
    files.files.insert("resources/db.toml".to_owned(), zoned.into_bytes());
    let bundle = Bundle::parse(&files).unwrap();
    let at = |time: &str| {
        let now = NowContext { time: time.parse().unwrap(), ..now() };
        let operations = OperationSet::from_iter([Operation::Read]);
        let alice = person("alice", &[]);
        let asked = asked();
        let evaluation = Evaluation {
            principal: &alice,
            resource: resource(&bundle, "db"),
            operations: &operations,
            exact: false,
            asked: &asked,
            now: &now,
            approvals: Approvals::Unknown,
        };
        bundle.policy.decide(&evaluation).outcome
    };
    // Summer there: UTC+13.
    assert_eq!(at("2026-01-05T19:59:59Z"), Outcome::Deny);
    assert_eq!(at("2026-01-05T20:00:00Z"), Outcome::Allow);
    assert_eq!(at("2026-01-06T03:59:59.999Z"), Outcome::Allow);
    assert_eq!(at("2026-01-06T04:00:00Z"), Outcome::Deny);
}

#[test]
fn context_carries_what_was_asked_and_what_is_so() {
    let text = "@id(\"x\") permit (principal, action == Action::\"write\", resource) when {
        context.asked has source && context.asked.source.isInRange(ip(\"10.0.0.0/8\")) && context.asked.duration <= duration(\"15m\") && context.asked.sign_in == \"password\"
        && context.asked.claims.contains(\"ref=refs/heads/main\")
        && context.asked.sign_in_age < duration(\"1h\") && context.now.time > datetime(\"2026-01-01\") && context.now has facts
        && context.now.facts has has_where && context.now.facts.has_where && context.now.facts.objects.contains(\"public.orders\")
        && context.now.facts.statements == 1 && resource.labels.contains(\"env=test\") && resource has owner && principal in resource.owner };";
    let mut files = files(text);
    let labelled = RESOURCE.replace("kind =", "owner = \"dba\"\nlabels = { env = \"test\" }\nkind =");
    files.files.insert("resources/db.toml".to_owned(), labelled.into_bytes());
    let bundle = Bundle::parse(&files).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let bob = person("bob", &["dba"]);
    let facts =
        FactsContext { statements: 1, has_where: Some(true), objects: ["public.orders".to_owned()].into(), ..FactsContext::default() };
    let from = |source: &str, facts: Option<&FactsContext>, claims: &[&str]| {
        bundle
            .policy
            .decide(&Evaluation {
                principal: &bob,
                resource: resource(&bundle, "db"),
                operations: &OperationSet::from_iter([Operation::Write]),
                exact: true,
                asked: &AskedContext {
                    source: safeconduct_policy::address(source),
                    claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
                    ..asked()
                },
                now: &NowContext { facts: facts.cloned(), ..now() },
                approvals: Approvals::Unknown,
            })
            .outcome
    };
    let ask = |source: &str, facts: Option<&FactsContext>| from(source, facts, &["run=17", "ref=refs/heads/main"]);
    assert_eq!(ask("10.1.2.3:5432", Some(&facts)), Outcome::Allow);
    assert_eq!(from("10.1.2.3:5432", Some(&facts), &["ref=refs/heads/main2"]), Outcome::Deny);
    assert_eq!(ask("::ffff:10.1.2.3", Some(&facts)), Outcome::Allow, "an IPv4 address in IPv6 clothes is the IPv4 address");
    assert_eq!(ask("192.0.2.1", Some(&facts)), Outcome::Deny);
    assert_eq!(ask("no address", Some(&facts)), Outcome::Deny);
    assert_eq!(ask("10.1.2.3", None), Outcome::Deny);
    assert_eq!(ask("10.1.2.3", Some(&FactsContext { has_where: None, ..facts.clone() })), Outcome::Deny);
}

#[test]
fn approving_is_judged_by_policy_too() {
    let rules = bundle(
        "@id(\"small\") permit (principal in Group::\"dba\", action == Action::\"approve\", resource in Resource::\"db\")
         when { resource.exact && resource has facts && resource.facts.statements == 1 && !resource.requester_groups.contains(Group::\"interns\") };
         @id(\"not-deletes\") forbid (principal, action == Action::\"approve\", resource) when { resource has facts && resource.facts.commands.contains(\"delete\") };",
    );
    let facts = FactsContext { statements: 1, ..FactsContext::default() };
    let ask = |approver: &safeconduct_model::Principal, requester: &safeconduct_model::Principal, facts: Option<&FactsContext>| {
        let (may, reasons) = rules.policy.may_approve(&ApprovalQuestion {
            approver,
            requester,
            requester_manager: None,
            resource: resource(&rules, "db"),
            operations: &OperationSet::from_iter([Operation::Write]),
            exact: true,
            facts,
            now: &now(),
        });
        assert!(!reasons.is_empty());
        may
    };
    let (bob, alice) = (person("bob", &["dba"]), person("alice", &[]));
    assert!(ask(&bob, &alice, Some(&facts)));
    assert!(ask(&bob, &principal("deployer", PrincipalKind::Workload, &[]), Some(&facts)));
    assert!(!ask(&bob, &alice, None));
    assert!(!ask(&bob, &person("ivo", &["interns"]), Some(&facts)));
    assert!(!ask(&person("erin", &["engineers"]), &alice, Some(&facts)));
    assert!(!ask(&principal("robot", PrincipalKind::Workload, &["dba"]), &alice, Some(&facts)));
    assert!(!ask(&safeconduct_model::Principal { disabled: true, ..bob.clone() }, &alice, Some(&facts)));
    let delete = FactsContext { commands: ["delete".to_owned()].into(), ..facts };
    assert!(!ask(&bob, &alice, Some(&delete)));
}

#[test]
fn managers_and_departments_are_policys_to_use() {
    let rules = bundle(
        "@id(\"manager\") permit (principal, action == Action::\"approve\", resource in Resource::\"db\")
         when { resource has requester_manager && principal == resource.requester_manager };
         @id(\"audit\") forbid (principal, action == Action::\"approve\", resource)
         when { resource has requester_department && principal has department && principal.department == resource.requester_department };",
    );
    let ask = |approver: &safeconduct_model::Principal, requester: &safeconduct_model::Principal| {
        let requester_manager = requester.manager.as_ref().map(|manager| &manager.name);
        let operations = OperationSet::from_iter([Operation::Write]);
        let (resource, now) = (resource(&rules, "db"), now());
        let question = ApprovalQuestion {
            approver,
            requester,
            requester_manager,
            resource,
            operations: &operations,
            exact: true,
            facts: None,
            now: &now,
        };
        rules.policy.may_approve(&question).0
    };
    let of = |name: &str, department: Option<&str>, manager: Option<&str>| safeconduct_model::Principal {
        department: department.map(str::to_owned),
        manager: manager
            .map(|name| safeconduct_model::Manager { name: name.parse().unwrap(), since: safeconduct_model::Timestamp::default() }),
        ..person(name, &[])
    };
    let eve = of("eve", Some("Payments"), Some("mia"));
    assert!(ask(&of("mia", None, None), &eve) && ask(&of("mia", Some("Board"), Some("root")), &eve));
    assert!(!ask(&of("mia", Some("Payments"), None), &eve), "a forbid by department stands");
    assert!(!ask(&of("max", None, None), &eve) && !ask(&of("mia", None, None), &of("eve", None, None)));
}

#[test]
fn what_else_scim_says_of_people_is_policys_to_use() {
    for attribute in safeconduct_model::PersonAttribute::ALL {
        let name = attribute.name();
        let rules = bundle(&format!(
            "@id(\"read\") permit (principal is Person, action == Action::\"read\", resource is Resource)
             when {{ principal has {name} && principal.{name} == \"4711\" }};
             @id(\"approve\") permit (principal, action == Action::\"approve\", resource in Resource::\"db\")
             when {{ resource has requester_{name} && principal has {name} && principal.{name} == resource.requester_{name} }};"
        ));
        let said = |who: &str, value: &str| safeconduct_model::Principal {
            attributes: [(attribute, value.to_owned())].into(),
            ..person(who, &[])
        };
        let reads = |who: &safeconduct_model::Principal| {
            decide(&rules, who, "db", &[Operation::Read], Approvals::Unknown).outcome == Outcome::Allow
        };
        assert!(reads(&said("eve", "4711")) && !reads(&said("eve", "4712")) && !reads(&person("eve", &[])), "{name}");
        let (operations, now) = (OperationSet::from_iter([Operation::Write]), now());
        let settles = |approver: &safeconduct_model::Principal, requester: &safeconduct_model::Principal| {
            let (resource, operations, now) = (resource(&rules, "db"), &operations, &now);
            let question =
                ApprovalQuestion { approver, requester, requester_manager: None, resource, operations, exact: true, facts: None, now };
            rules.policy.may_approve(&question).0
        };
        assert!(settles(&said("mia", "4712"), &said("eve", "4712")), "{name}");
        assert!(!settles(&said("mia", "4711"), &said("eve", "4712")) && !settles(&person("mia", &[]), &person("eve", &[])), "{name}");
        assert!(!rules.policy.approvers_by_groups(), "{name}");
    }
}

#[test]
fn approvers_are_alike_only_if_no_rule_about_approving_looks_at_who_they_are() {
    let approve = |scope: &str, when: &str| {
        let policies = format!(
            "@id(\"read\") permit (principal == Person::\"alice\", action == Action::\"read\", resource);\n\
             @id(\"approve\") permit ({scope}, action == Action::\"approve\", resource) {when};"
        );
        bundle(&policies).policy.approvers_by_groups()
    };
    let dba = "principal in Group::\"dba\"";
    assert!(bundle("").policy.approvers_by_groups(), "the built-in ones do not");
    assert!(approve("principal", "") && approve(dba, "") && approve("principal is Person in Group::\"dba\"", ""));
    assert!(approve(dba, "when { resource.exact }"));
    assert!(!approve("principal == Person::\"bob\"", ""));
    assert!(!approve(dba, "unless { principal == Person::\"bob\" }"));
    assert!(!approve(dba, "unless { principal.name like \"b*\" }"));
    assert!(!approve(dba, "when { resource.requester != principal.name }"));
    // The requester's manager is one person, and is told apart from everybody else.
    let by_manager = "resource has requester_manager && principal == resource.requester_manager";
    assert!(approve("principal", &format!("when {{ {by_manager} }}")));
    assert!(approve("principal", "when { resource has requester_manager && resource.requester_manager == principal }"));
    assert!(!approve("principal", &format!("when {{ {by_manager} && principal.name like \"m*\" }}")));
    assert!(!approve(
        "principal",
        "when { principal has manager && resource has requester_manager && principal.manager == resource.requester_manager }"
    ));
    assert!(!approve("principal", "when { resource has requester_manager && principal != resource.requester_manager }"));
    assert!(!approve("principal", "when { principal has department && principal.department == \"IT\" }"));
    assert!(!bundle("@id(\"all\") forbid (principal == Person::\"bob\", action, resource);").policy.approvers_by_groups());
}
