//! The landscape as canonical lines, in sections: see `snapshot::section` for how its name
//! follows from them.
//!
//! One fact a line, words separated by spaces, everything a person wrote between double quotes and
//! escaped to ASCII, lists sorted: a third party can write a reader in an afternoon.

use super::offers::Draft;
use super::{Parts, parts};
use crate::config::depth::{BodyDepth, Depth};
use crate::config::hook::OnFailure;
use crate::config::model::{Caller, Condition, Interface, Requirement, Route, Service};
use crate::config::policy::{Fallback, Obligations, Scope, Stance};
use crate::config::quota::{self, Apply, Quota};
use crate::config::tls::Expected;
use crate::contract::logic::{AttributeId, Cnf, PromiseBox};
use crate::contract::set::Set;
use crate::contract::vocabulary::Vocabulary;
use crate::snapshot::pattern::{host_text, operation_text};
use crate::snapshot::policy::{Rule, RuleKind};
use crate::snapshot::section::{Hash, SEMANTICS, hex, quoted};
use crate::snapshot::{Common, Governance, RouteEntry};
use crate::wire::date::utc;
use std::fmt::{Display, Write};

struct Lines(String);

impl Lines {
    fn line(&mut self, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{text}");
    }
}

/// What stands before all sections of capabilities and services.
pub(super) fn common_text(common: &Common, routes: &[RouteEntry], drafts: &[Draft]) -> String {
    let parts = &parts(&common.source);
    let mut lines = Lines(String::new());
    lines.line(SEMANTICS);
    vocabulary_lines(&parts.vocabulary, &mut lines);
    let mut explicit: Vec<&Route> = parts.routes.iter().collect();
    explicit.sort_by(|a, b| a.id.cmp(&b.id));
    for route in explicit {
        route_lines(route, &mut lines);
    }
    let mut requirements: Vec<&Requirement> = parts.requirements.iter().collect();
    requirements.sort_by(|a, b| a.id.cmp(&b.id));
    for requirement in requirements {
        lines.line(format_args!(
            "requirement {} caller {} operation {}",
            quoted(&requirement.id),
            requirement.caller.as_deref().map_or("none".to_owned(), quoted),
            requirement
                .operation
                .as_ref()
                .map_or("none".to_owned(), |o| quoted(&operation_text(o))),
        ));
        conditions("need", &requirement.needs, &mut lines);
    }
    let mut callers: Vec<&Caller> = parts.callers.iter().collect();
    callers.sort_by(|a, b| a.id.cmp(&b.id));
    for caller in callers {
        caller_lines(caller, &mut lines);
    }
    policies_lines(parts, &common.rules, &mut lines);
    parts.quotas.iter().for_each(|quota| quota_lines(quota, &mut lines));
    governance_lines(&parts.governance, &mut lines);
    let affinity = parts.seed.affinity_header.as_deref();
    lines.line(format_args!("seed affinity {}", affinity.map_or("none".to_owned(), quoted)));
    for (word, named) in [("probed", &parts.seed.probed), ("counted", &parts.seed.counted)] {
        if !named.is_empty() {
            let names: String = named.iter().map(|name| format!(" {}", quoted(name))).collect();
            lines.line(format_args!("{word}{names}"));
        }
    }
    if names_routes(common) {
        following(drafts, (parts.routes.len(), routes), &mut lines);
    }
    lines.0
}

/// Whether some rule or quota names routes.
pub(super) fn names_routes(common: &Common) -> bool {
    common.rules.iter().any(|rule| rule.scope.routes.is_some())
        || common.source.quotas.iter().any(|quota| !quota.routes.is_empty())
}

/// The section of a capability: what follows from the lines of routes and requirements, written out
/// because records of decisions name it by number.
pub(super) fn capability_text(name: &str, needs: &[Vec<Condition>]) -> String {
    let mut lines = Lines(String::new());
    lines.line(format_args!("capability {}", quoted(name)));
    for (number, needs) in needs.iter().enumerate() {
        lines.line(format_args!("needs {number}"));
        conditions("need", needs, &mut lines);
    }
    lines.0
}

/// Where some rule or quota names routes: those that follow from contracts, by their numbers in
/// records.
fn following(drafts: &[Draft], (explicit, routes): (usize, &[RouteEntry]), lines: &mut Lines) {
    for (number, route) in routes.iter().enumerate().skip(explicit) {
        let capability = drafts.get(route.capability.0 as usize).map_or("", |it| &it.name);
        let id = quoted(&route.id);
        lines.line(format_args!("follows {number} {id} capability {}", quoted(capability)));
    }
}

/// Who may call what: rules by their numbers. The conditions of forbids are their negations, as
/// they are decided by.
fn policies_lines(parts: &Parts<'_>, rules: &[Rule], lines: &mut Lines) {
    match parts.policy.policies.fallback {
        Some(Fallback::Deny) => lines.line("policies deny"),
        Some(Fallback::Open) => lines.line("policies open"),
        None => {}
    }
    for rule in rules {
        rule_lines(rule, lines);
    }
}

fn rule_lines(rule: &Rule, lines: &mut Lines) {
    let id = quoted(&rule.id);
    match (&rule.owner, rule.kind) {
        (Some((owner, expires)), _) => {
            let (owner, expires) = (quoted(owner), utc(*expires));
            lines.line(format_args!("override {id} expires {expires} owner {owner}"));
        }
        (None, kind) => {
            let effect = if kind == RuleKind::Forbid { "forbid" } else { "permit" };
            let stance = if rule.stance == Stance::Shadow { "shadow" } else { "enforce" };
            lines.line(format_args!("policy {id} {effect} {stance}"));
        }
    }
    let Scope { callers, capabilities, services, routes } = &rule.scope;
    let sides = [("callers", callers), ("capabilities", capabilities)];
    for (word, patterns) in sides.into_iter().chain([("services", services), ("routes", routes)]) {
        let Some(patterns) = patterns else { continue };
        let texts: String =
            patterns.iter().map(|pattern| format!(" {}", quoted(&pattern.text()))).collect();
        lines.line(format_args!("{word}{texts}"));
    }
    let word = if rule.kind == RuleKind::Forbid { "unless" } else { "if" };
    for (side, condition) in [("facts", &rule.facts), ("promises", &rule.promises)] {
        let word = format!("{word} {side}");
        conditions(&word, condition.as_slice(), lines);
    }
    if let Some(reason) = &rule.reason {
        lines.line(format_args!("reason {}", quoted(reason)));
    }
    let Obligations { set, remove, audit, limits } = &rule.obligations;
    for (name, value) in set {
        lines.line(format_args!("set {} {}", quoted(name), quoted(value)));
    }
    remove.iter().for_each(|name| lines.line(format_args!("remove {}", quoted(name))));
    audit.iter().for_each(|it| lines.line(format_args!("keep {}", depth(it))));
    limits.iter().for_each(|id| lines.line(format_args!("limit {}", quoted(id))));
}

/// How many calls there may be, and which are counted: quotas by their numbers.
fn quota_lines(quota: &Quota, lines: &mut Lines) {
    let Quota { id, per, callers, routes, services, capabilities, .. } = quota;
    let sides = [("principal", per.principal), ("route", per.route), ("service", per.service)];
    let each: String =
        sides.iter().filter(|(_, own)| *own).map(|(word, _)| format!(" {word}")).collect();
    let rate = quota.rate.map_or("none".to_owned(), |quota::Rate { count, seconds, burst }| {
        format!("{count} in {seconds} burst {burst}")
    });
    lines.line(format_args!(
        "quota {} per{} rate {rate} flight {} scope {} apply {} headers {}",
        quoted(id),
        if each.is_empty() { " none" } else { &each },
        quota.concurrency.map_or("none".to_owned(), |most| most.to_string()),
        match quota.scope {
            quota::Scope::Shared => "shared",
            quota::Scope::Worker => "worker",
        },
        match quota.apply {
            Apply::Always => "always",
            Apply::Named => "named",
        },
        if quota.headers { "told" } else { "untold" },
    ));
    let sides = [("callers", callers), ("routes", routes)];
    for (word, names) in
        sides.into_iter().chain([("services", services), ("capabilities", capabilities)])
    {
        if !names.is_empty() {
            let texts: String =
                names.iter().map(|name| format!(" {}", quoted(&name.text()))).collect();
            lines.line(format_args!("counts {word}{texts}"));
        }
    }
}

/// Conditions as lines that begin with `need`, as they stand under routes.
pub fn need_lines(needs: &[Condition]) -> String {
    let mut lines = Lines(String::new());
    conditions("need", needs, &mut lines);
    lines.0
}

fn vocabulary_lines(vocabulary: &Vocabulary, lines: &mut Lines) {
    lines.line(format_args!("vocabulary {}", quoted(vocabulary.version())));
    for declared in vocabulary.declared() {
        lines.line(format_args!(
            "declared {} {} {} {}{}",
            quoted(&declared.name),
            declared.side,
            quoted(&format!("{:?}", declared.kind)),
            quoted(&format!("{:?}", declared.source)),
            if declared.sensitive { " sensitive" } else { "" },
        ));
    }
    for (number, attribute) in (0..).zip(vocabulary.attributes()) {
        lines.line(format_args!(
            "attribute {} {}",
            quoted(&attribute.name),
            constraint(AttributeId(number), &attribute.domain)
        ));
    }
}

/// The section of a service under its number; its contract's document has this digest.
pub(super) fn service_text(number: u32, service: &Service, contract: &Hash) -> String {
    let mut all = Lines(String::new());
    let (lines, digest) = (&mut all, hex(contract));
    let contract = &service.contract;
    let protocol = match service.protocol {
        crate::config::model::Protocol::Http1 => "http1",
        crate::config::model::Protocol::Http2 => "http2",
    };
    lines.line(format_args!(
        "service {number} {} version {} contract sha256:{digest} tier {} protocol {protocol}",
        quoted(&contract.service),
        quoted(&contract.version),
        service.tier
    ));
    // Which files prove it is no part of the landscape: they change without changing whom it names.
    match service.tls.as_ref().map(|tls| &tls.expected) {
        None => {}
        Some(Expected::Address) => lines.line("tls address"),
        Some(Expected::Name(name)) => lines.line(format_args!("tls name {}", quoted(name))),
        Some(Expected::Spiffe(id)) => lines.line(format_args!("tls spiffe {}", quoted(id))),
    }
    let mut endpoints = service.endpoints.clone();
    endpoints.sort();
    for endpoint in endpoints {
        lines.line(format_args!("endpoint {endpoint}"));
    }
    let mut offers: Vec<_> = contract.offers.iter().collect();
    offers.sort_by(|a, b| a.capability.cmp(&b.capability));
    for offer in offers {
        lines.line(format_args!("offer {}", quoted(&offer.capability)));
        match &offer.interface {
            Interface::Grpc(name) => lines.line(format_args!("grpc {}", quoted(name))),
            Interface::Http(operations) => {
                let mut operations: Vec<_> = operations.iter().collect();
                operations.sort();
                for operation in operations {
                    lines.line(format_args!("http {}", quoted(&operation_text(operation))));
                }
            }
        }
        conditions("demand", &offer.demands, lines);
        for mode in &offer.promises {
            lines.line(format_args!(
                "promise when {} then {}",
                cnf(&mode.when),
                promises(&mode.then)
            ));
        }
    }
    all.0
}

fn route_lines(route: &Route, lines: &mut Lines) {
    let number = |limit: Option<u64>| limit.map_or("default".to_owned(), |n| n.to_string());
    lines.line(format_args!(
        "route {} host {} operation {} capability {} body {} timeout {} audit {}{}",
        quoted(&route.id),
        quoted(&host_text(route.host.as_ref())),
        quoted(&operation_text(&route.operation)),
        quoted(&route.capability),
        number(route.body_bytes_max),
        number(route.timeout_ms),
        route.depth.as_ref().map_or("default".to_owned(), depth),
        if route.policy == Stance::Shadow { " policy shadow" } else { "" },
    ));
    let mut headers: Vec<_> = route.headers.iter().collect();
    headers.sort();
    for (name, value) in headers {
        lines.line(format_args!("header {} {}", quoted(name), quoted(value)));
    }
    if let Some(hooks) = &route.hooks {
        let hooks: String = hooks.iter().map(|id| format!(" {}", quoted(id))).collect();
        lines.line(format_args!("hooks{}", if hooks.is_empty() { " none" } else { &hooks }));
    }
    conditions("need", &route.needs, lines);
}

/// `digests bytes 0 fields "accept" "content-type"`.
fn depth(depth: &Depth) -> String {
    let bodies = match depth.bodies {
        BodyDepth::Nothing => "none",
        BodyDepth::Sizes => "sizes",
        BodyDepth::Digests => "digests",
    };
    let fields: String = depth.fields.iter().map(|name| format!(" {}", quoted(name))).collect();
    format!("{bodies} bytes {} fields{fields}", depth.body_bytes)
}

/// The hooks, numbered in this order, and those that are asked where a route says nothing.
fn governance_lines(governance: &Governance, lines: &mut Lines) {
    for (id, failure) in governance.hooks() {
        let failure = match failure {
            OnFailure::Refuse => "refuse",
            OnFailure::Open => "open",
        };
        lines.line(format_args!("hook {} failure {failure}", quoted(id)));
    }
    if !governance.default.is_empty() {
        let known = governance.default.iter().filter_map(|number| governance.hook(*number));
        let ids: String = known.map(|(id, _)| format!(" {}", quoted(id))).collect();
        lines.line(format_args!("governance{ids}"));
    }
}

fn caller_lines(caller: &Caller, lines: &mut Lines) {
    lines.line(format_args!("caller {}", quoted(&caller.id)));
    let mut networks = caller.networks.clone();
    networks.sort();
    for (address, length) in networks {
        lines.line(format_args!("network {address}/{length}"));
    }
    let mut facts: Vec<_> = caller.facts.iter().collect();
    facts.sort();
    for (name, value) in facts {
        lines.line(format_args!("fact {} {}", quoted(name), quoted(value)));
    }
}

fn conditions(word: &str, conditions: &[Condition], lines: &mut Lines) {
    for condition in conditions {
        lines.line(format_args!(
            "{word} {} {} {}",
            quoted(&condition.name),
            quoted(&condition.text),
            cnf(&condition.cnf)
        ));
    }
}

/// `(3∈1..5 | 4∈0..0) & (…)`, in ASCII; `true` and `false` for what is empty.
fn cnf(cnf: &Cnf) -> String {
    if cnf.clauses.is_empty() {
        return "true".to_owned();
    }
    let clauses = cnf.clauses.iter().map(|clause| {
        if clause.atoms.is_empty() {
            return "false".to_owned();
        }
        let atoms = clause.atoms.iter().map(|atom| constraint(atom.attribute, &atom.set));
        format!("({})", atoms.collect::<Vec<_>>().join(" | "))
    });
    clauses.collect::<Vec<_>>().join(" & ")
}

fn promises(promises: &PromiseBox) -> String {
    let sets = promises.iter().map(|(attribute, set)| constraint(*attribute, set));
    sets.collect::<Vec<_>>().join(" & ")
}

fn constraint(attribute: AttributeId, set: &Set) -> String {
    let intervals: Vec<String> = match set {
        Set::Numbers(numbers) => {
            numbers.intervals().iter().map(|(low, high)| format!("{low}..{high}")).collect()
        }
        Set::Texts(texts) => texts
            .intervals()
            .iter()
            .map(|(low, high)| {
                let high = high.as_ref().map_or("none".to_owned(), |high| bytes(high));
                format!("[{} {high})", bytes(low))
            })
            .collect(),
    };
    format!("{}:{{{}}}", attribute.0, intervals.join(","))
}

fn bytes(text: &[u8]) -> String {
    format!("\"{}\"", text.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_keeps_is_one_run_of_words() {
        assert_eq!(depth(&Depth::default()), "digests bytes 0 fields");
        let fields = vec!["accept".to_owned(), "x-note".to_owned()];
        let kept = Depth { bodies: BodyDepth::Sizes, fields, body_bytes: 8 };
        assert_eq!(depth(&kept), "sizes bytes 8 fields \"accept\" \"x-note\"");
    }
}
