//! A snapshot out of its canonical text alone, so that what was decided years ago can be decided
//! again when nobody has the configuration any more.
//!
//! ```text
//!   snapshots/<hex>.landscape ──lines──▶ Source, services ──build──▶ Snapshot ──▶ the same text?
//!   Snapshot, delta ──lines──▶ services put, removed ──update──▶ Snapshot ──▶ the same delta?
//! ```
//! The text is not trusted to be read rightly: what was read is compiled, and the text of *that*
//! must be the stored one, letter by letter.

mod quotas;

use super::build::{Given, whole};
use super::update::{Change, changed};
use super::{Problem, Problems};
use crate::config::depth::{BodyDepth, Depth};
use crate::config::hook::OnFailure;
use crate::config::model::{
    Caller, Condition, Contract, HostPattern, Interface, Offer, Operation, PathPattern, Protocol,
    Requirement, Route, Service,
};
use crate::config::policy::{
    Effect, Fallback, IdPattern, Obligations, Override, Policies, Policy, Scope, Stance,
};
use crate::config::quota::Quota;
use crate::config::tls::{Expected, ServiceTls};
use crate::contract::logic::{Atom, AttributeId, Clause, Cnf, Mode, PromiseBox};
use crate::contract::region::{Region, Regions};
use crate::contract::set::{Numbers, Set, Texts};
use crate::contract::vocabulary::{Declaration, Kind, Side, Source, Unit, Vocabulary};
use crate::snapshot::cell::Layout;
use crate::snapshot::section::{Hash, SEMANTICS};
use crate::snapshot::source;
use crate::snapshot::{Governance, SeedRule, Snapshot};
use crate::wire::date::parse_utc;
use crate::wire::limits::{ATTRIBUTES_MAX, REGION_DEPTH_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rebuilds the snapshot of a canonical text.
///
/// # Errors
/// Which line is not canonical, or why what was read is not what is written.
pub fn snapshot(text: &str) -> Result<Snapshot, String> {
    let mut reading = Reading::default();
    reading.all(text)?;
    let services = std::mem::take(&mut reading.services);
    let given = services.iter().map(Numbered::given).collect();
    let source = reading.source()?;
    let built = whole(source, given, Layout::Sized, Problems::default()).map_err(first)?;
    same(&built.canonical(), text)?;
    Ok(built)
}

/// The snapshot that another becomes by a delta of canonical lines.
///
/// # Errors
/// As [`snapshot`].
pub fn applied(before: &Snapshot, delta: &str) -> Result<Snapshot, String> {
    if delta.starts_with(SEMANTICS) {
        return snapshot(&edited(&before.canonical(), delta)?);
    }
    let mut reading = Reading::default();
    reading.all(delta)?;
    let put = reading.services.iter().map(|it| (it.service.contract.service.clone(), it));
    let mut changes: Vec<(String, Change<'_>)> =
        put.map(|(id, it)| (id, Change::Stored(it.given()))).collect();
    changes.extend(reading.gone.iter().map(|id| (id.clone(), Change::Removed)));
    let after = changed(before, changes.into_iter().collect()).map_err(first)?;
    same(&after.delta(before), delta)?;
    Ok(after)
}

fn first(problems: Vec<Problem>) -> String {
    let first = problems.first().map(ToString::to_string);
    format!("it does not compile: {}", first.unwrap_or_default())
}

fn same(ours: &str, theirs: &str) -> Result<(), String> {
    let lines = ours.lines().zip(theirs.lines());
    if let Some((number, _)) = (1..).zip(lines).find(|(_, (a, b))| a != b) {
        return Err(format!("line {number} of the landscape means something else to this program"));
    }
    if ours != theirs {
        return Err("the landscape is longer or shorter than what it means".to_owned());
    }
    Ok(())
}

/// A line's place among sections: what is common, a capability's name, a service's; `None` where it
/// goes on with the section before.
fn heads(line: &str) -> Option<(u8, String)> {
    let (word, rest) = line.split_once(' ')?;
    let mut from = Cursor(rest);
    match word {
        "capability" => Some((1, from.quoted()?)),
        "service" => {
            from.number::<u32>()?;
            from.eat(" ")?;
            Some((2, from.quoted()?))
        }
        _ => None,
    }
}

/// The sections of a text.
fn sections(text: &str) -> Vec<((u8, String), String)> {
    let mut all = vec![((0, String::new()), String::new())];
    for line in text.split_inclusive('\n') {
        if let Some(head) = heads(line.trim_end_matches('\n')) {
            all.push((head, String::new()));
        }
        if let Some((_, lines)) = all.last_mut() {
            lines.push_str(line);
        }
    }
    all
}

/// A text whose common section a delta changes, too.
fn edited(before: &str, delta: &str) -> Result<String, String> {
    let mut all: std::collections::BTreeMap<_, _> = sections(before).into_iter().collect();
    let mut delta = sections(delta).into_iter();
    let (_, common) = delta.next().unwrap_or_default();
    let (mut kept, mut gone) = (String::new(), Vec::new());
    for line in common.split_inclusive('\n') {
        match line.strip_prefix("gone ") {
            None => kept.push_str(line),
            Some(rest) => gone.push(rest.trim_end_matches('\n').to_owned()),
        }
    }
    for line in gone {
        let (word, rest) = line.split_once(' ').unwrap_or_default();
        let name = Cursor(rest).quoted().ok_or("a line of the landscape is not canonical")?;
        all.remove(&(if word == "service" { 2 } else { 1 }, name));
    }
    all.insert((0, String::new()), kept);
    all.extend(delta);
    let mut ordered: Vec<_> = all.into_iter().collect();
    // In the text services stand in the order of their numbers.
    let number = |text: &str| {
        let (number, _) = text.strip_prefix("service ")?.split_once(' ')?;
        number.parse::<u32>().ok()
    };
    ordered.sort_by_key(|((kind, _), text)| (*kind, number(text)));
    Ok(ordered.into_iter().map(|(_, text)| text).collect())
}

/// The conditions of `need …` lines, as records carry what a `CAIO-Require` header stood for.
pub fn needs(text: &str) -> Option<Vec<Condition>> {
    let lines = text.lines().map(|line| {
        let mut from = Cursor(line.strip_prefix("need ")?);
        let condition = from.condition()?;
        from.0.is_empty().then_some(condition)
    });
    lines.collect()
}

/// A service under its number.
struct Numbered {
    number: u32,
    service: Service,
    /// The digest of its contract's document, which the text does not hold.
    contract: Hash,
}

impl Numbered {
    fn given(&self) -> Given<'_> {
        Given { number: self.number, service: &self.service, contract: self.contract }
    }
}

#[derive(Default)]
struct Reading {
    version: String,
    declarations: Vec<Declaration>,
    services: Vec<Numbered>,
    /// Services that a delta takes away.
    gone: Vec<String>,
    routes: Vec<Route>,
    requirements: Vec<Requirement>,
    callers: Vec<Caller>,
    affinity: Option<String>,
    probed: BTreeSet<String>,
    counted: BTreeSet<String>,
    hooks: Vec<(Arc<str>, OnFailure)>,
    /// The hooks that are asked where a route says nothing.
    asked: Vec<String>,
    owner: Owner,
    policies: Policies,
    quotas: Vec<Quota>,
    /// Whether the rule that lines speak of is an override.
    overriding: bool,
}

/// Whose `need` lines come.
#[derive(Default)]
enum Owner {
    #[default]
    Nobody,
    Route,
    Requirement,
    /// The numbered needs follow from the rest.
    Derived,
}

impl Reading {
    fn all(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines()) {
            let known = match number {
                1 if line == SEMANTICS => Some(()),
                _ => self.line(line),
            };
            known.ok_or_else(|| format!("line {number} of the landscape is not canonical"))?;
        }
        Ok(())
    }

    fn source(self) -> Result<source::Source, String> {
        let vocabulary = Vocabulary::build(&self.version, self.declarations);
        let vocabulary = vocabulary.map_err(|_| "its vocabulary is not sound".to_owned())?;
        Ok(source::Source {
            routes: self.routes,
            requirements: self.requirements,
            callers: self.callers,
            vocabulary: Arc::new(vocabulary),
            seed: SeedRule {
                affinity_header: self.affinity,
                probed: self.probed,
                counted: self.counted,
            },
            policies: self.policies,
            now_s: None,
            identified: false,
            governance: Governance::of(self.hooks, &self.asked),
            quotas: self.quotas,
        })
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        let mut from = Cursor(rest);
        let from = &mut from;
        match word {
            "vocabulary" => self.version = from.quoted()?,
            "declared" => self.declarations.push(declaration(from)?),
            // Follows from what is declared.
            "attribute" => return Some(()),
            "service" => self.services.push(service(from)?),
            "tls" => {
                let expected = if from.eat("address").is_some() {
                    Expected::Address
                } else if from.eat("spiffe ").is_some() {
                    Expected::Spiffe(from.quoted()?)
                } else {
                    from.eat("name ")?;
                    Expected::Name(from.quoted()?)
                };
                let tls = ServiceTls { expected, ..ServiceTls::default() };
                self.services.last_mut()?.service.tls = Some(tls);
            }
            "endpoint" => {
                let endpoint = from.rest().parse().ok()?;
                self.services.last_mut()?.service.endpoints.push(endpoint);
            }
            "offer" => {
                let capability = from.quoted()?;
                let interface = Interface::Http(Vec::new());
                let (demands, promises) = (Vec::new(), Vec::new());
                let offer = Offer { capability, interface, demands, promises };
                self.services.last_mut()?.service.contract.offers.push(offer);
            }
            "grpc" => self.offer()?.interface = Interface::Grpc(from.quoted()?),
            "http" => {
                let operation = operation(&from.quoted()?)?;
                let Interface::Http(operations) = &mut self.offer()?.interface else { return None };
                operations.push(operation);
            }
            "demand" => {
                let condition = from.condition()?;
                self.offer()?.demands.push(condition);
            }
            "promise" => {
                from.eat("when ")?;
                let when = from.cnf()?;
                from.eat(" then ")?;
                let then = from.promises()?;
                self.offer()?.promises.push(Mode { when, then });
            }
            "route" => {
                self.routes.push(route(from)?);
                self.owner = Owner::Route;
            }
            "header" => {
                let name = from.quoted()?;
                from.eat(" ")?;
                let value = from.quoted()?;
                self.routes.last_mut()?.headers.push((name, value));
            }
            "requirement" => {
                self.requirements.push(requirement(from)?);
                self.owner = Owner::Requirement;
            }
            // Follows from routes and requirements.
            "capability" | "needs" => {
                self.owner = Owner::Derived;
                return Some(());
            }
            "gone" => {
                if from.eat("service ").is_some() {
                    self.gone.push(from.quoted()?);
                } else {
                    from.eat("capability ")?;
                    from.quoted()?;
                }
            }
            "need" => {
                let condition = from.condition()?;
                match self.owner {
                    Owner::Nobody => return None,
                    Owner::Route => self.routes.last_mut()?.needs.push(condition),
                    Owner::Requirement => self.requirements.last_mut()?.needs.push(condition),
                    Owner::Derived => {}
                }
            }
            "caller" => {
                let id = from.quoted()?;
                self.callers.push(Caller { id, networks: Vec::new(), facts: Vec::new() });
            }
            "network" => {
                let (address, length) = from.rest().split_once('/')?;
                let network = (address.parse().ok()?, length.parse().ok()?);
                self.callers.last_mut()?.networks.push(network);
            }
            "fact" => {
                let name = from.quoted()?;
                from.eat(" ")?;
                let value = from.quoted()?;
                self.callers.last_mut()?.facts.push((name, value));
            }
            "policies" => {
                self.policies.fallback = Some(match from.rest() {
                    "deny" => Fallback::Deny,
                    "open" => Fallback::Open,
                    _ => return None,
                });
            }
            "policy" => {
                self.policies.rules.push(policy(from)?);
                self.overriding = false;
            }
            "override" => {
                self.policies.overrides.push(overriding(from)?);
                self.overriding = true;
            }
            "callers" => self.scope()?.callers = Some(patterns(from)?),
            "capabilities" => self.scope()?.capabilities = Some(patterns(from)?),
            "services" => self.scope()?.services = Some(patterns(from)?),
            "routes" => self.scope()?.routes = Some(patterns(from)?),
            "if" | "unless" => self.rule_condition(word, from)?,
            "reason" => {
                let reason = from.quoted()?;
                match self.overriding {
                    true => self.policies.overrides.last_mut()?.reason = reason,
                    false => self.policies.rules.last_mut()?.reason = Some(reason),
                }
            }
            "set" => {
                let name = from.quoted()?;
                from.eat(" ")?;
                let value = from.quoted()?;
                self.obligations()?.set.push((name, value));
            }
            "remove" => {
                let name = from.quoted()?;
                self.obligations()?.remove.push(name);
            }
            "keep" => {
                let depth = depth(from)?;
                self.obligations()?.audit = Some(depth);
            }
            "limit" => {
                let id = from.quoted()?;
                self.obligations()?.limits.push(id);
            }
            "quota" => self.quotas.push(quotas::quota(from)?),
            "counts" => quotas::counted(self.quotas.last_mut()?, from)?,
            // Follow from contracts.
            "follows" => return Some(()),
            "hooks" => {
                let hooks = match from.eat("none") {
                    Some(()) => Vec::new(),
                    None => from.quoted_list()?,
                };
                self.routes.last_mut()?.hooks = Some(hooks);
            }
            "hook" => {
                let id = from.quoted()?;
                from.eat(" failure ")?;
                let failure = match from.rest() {
                    "refuse" => OnFailure::Refuse,
                    "open" => OnFailure::Open,
                    _ => return None,
                };
                self.hooks.push((id.into(), failure));
            }
            "governance" => self.asked = from.quoted_list()?,
            "seed" => {
                from.eat("affinity ")?;
                self.affinity = from.quoted_or_none()?;
            }
            "probed" => self.probed = from.quoted_list()?.into_iter().collect(),
            "counted" => self.counted = from.quoted_list()?.into_iter().collect(),
            _ => return None,
        }
        from.0.is_empty().then_some(())
    }

    /// What the rule that lines speak of is about.
    fn scope(&mut self) -> Option<&mut Scope> {
        match self.overriding {
            true => Some(&mut self.policies.overrides.last_mut()?.scope),
            false => Some(&mut self.policies.rules.last_mut()?.scope),
        }
    }

    fn rule_condition(&mut self, word: &str, from: &mut Cursor<'_>) -> Option<()> {
        let promises = from.eat("promises ").is_some();
        if !promises {
            from.eat("facts ")?;
        }
        let condition = from.condition()?;
        if self.overriding {
            let over = self.policies.overrides.last_mut().filter(|_| word == "if" && !promises)?;
            over.when = Some(condition);
            return Some(());
        }
        let rule = self.policies.rules.last_mut()?;
        if (rule.effect == Effect::Forbid) != (word == "unless") {
            return None;
        }
        let slot = if promises { &mut rule.service } else { &mut rule.when };
        *slot = Some(condition);
        Some(())
    }

    fn obligations(&mut self) -> Option<&mut Obligations> {
        let own = !self.overriding;
        self.policies.rules.last_mut().filter(|_| own).map(|rule| &mut rule.obligations)
    }

    fn offer(&mut self) -> Option<&mut Offer> {
        self.services.last_mut()?.service.contract.offers.last_mut()
    }
}

fn service(from: &mut Cursor<'_>) -> Option<Numbered> {
    let number = from.number()?;
    from.eat(" ")?;
    let service = from.quoted()?;
    from.eat(" version ")?;
    let version = from.quoted()?;
    from.eat(" contract sha256:")?;
    let mut digest = [0; 32];
    for byte in &mut digest {
        let (digits, rest) = from.0.split_at_checked(2)?;
        from.0 = rest;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    from.eat(" tier ")?;
    let tier = from.number()?;
    from.eat(" protocol ")?;
    let protocol = match from.rest() {
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        _ => return None,
    };
    let contract = Contract { service, version, offers: Vec::new(), text: String::new() };
    let (endpoints, care) = (Vec::new(), Arc::default());
    let service = Service { contract, endpoints, protocol, tls: None, tier, care };
    Some(Numbered { number, service, contract: digest })
}

fn route(from: &mut Cursor<'_>) -> Option<Route> {
    let id = from.quoted()?;
    from.eat(" host ")?;
    let host = from.quoted()?;
    from.eat(" operation ")?;
    let operation = operation(&from.quoted()?)?;
    from.eat(" capability ")?;
    let capability = from.quoted()?;
    from.eat(" body ")?;
    let body_bytes_max = from.number_or_default()?;
    from.eat(" timeout ")?;
    let timeout_ms = from.number_or_default()?;
    from.eat(" audit ")?;
    let depth = if from.eat("default").is_some() { None } else { Some(depth(from)?) };
    let shadow = from.eat(" policy shadow").is_some();
    Some(Route {
        id,
        host: match (host.as_str(), host.strip_prefix('*')) {
            ("*", _) => None,
            (_, Some(suffix)) => Some(HostPattern::Suffix(suffix.to_owned())),
            (_, None) => Some(HostPattern::Exact(host)),
        },
        operation,
        headers: Vec::new(),
        capability,
        needs: Vec::new(),
        body_bytes_max,
        timeout_ms,
        depth,
        hooks: None,
        policy: if shadow { Stance::Shadow } else { Stance::Enforce },
    })
}

/// How much of an exchange the trail keeps.
fn depth(from: &mut Cursor<'_>) -> Option<Depth> {
    let words = [
        ("none", BodyDepth::Nothing),
        ("sizes", BodyDepth::Sizes),
        ("digests", BodyDepth::Digests),
    ];
    let (_, bodies) = words.into_iter().find(|(word, _)| from.eat(word).is_some())?;
    from.eat(" bytes ")?;
    let body_bytes = from.number()?;
    from.eat(" fields")?;
    let mut fields = Vec::new();
    while from.eat(" \"").is_some() {
        fields.push(from.quoted_on()?);
    }
    Some(Depth { bodies, fields, body_bytes })
}

fn policy(from: &mut Cursor<'_>) -> Option<Policy> {
    let id = from.quoted()?;
    let effects = [(" permit", Effect::Permit), (" forbid", Effect::Forbid)];
    let (_, effect) = effects.into_iter().find(|(word, _)| from.eat(word).is_some())?;
    let stances = [(" enforce", Stance::Enforce), (" shadow", Stance::Shadow)];
    let (_, stance) = stances.into_iter().find(|(word, _)| from.eat(word).is_some())?;
    let (scope, obligations) = (Scope::default(), Obligations::default());
    let (when, service, reason) = (None, None, None);
    Some(Policy { id, effect, stance, scope, when, service, reason, obligations })
}

fn overriding(from: &mut Cursor<'_>) -> Option<Override> {
    let id = from.quoted()?;
    from.eat(" expires ")?;
    let (expires, rest) = from.0.split_at_checked(20)?;
    let expires_s = parse_utc(expires)?;
    from.0 = rest;
    from.eat(" owner ")?;
    let (owner, reason) = (from.quoted()?, String::new());
    Some(Override { id, scope: Scope::default(), when: None, reason, owner, expires_s })
}

fn patterns(from: &mut Cursor<'_>) -> Option<Vec<IdPattern>> {
    let mut patterns = vec![IdPattern::of(&from.quoted()?)];
    while from.eat(" ").is_some() {
        patterns.push(IdPattern::of(&from.quoted()?));
    }
    Some(patterns)
}

fn requirement(from: &mut Cursor<'_>) -> Option<Requirement> {
    let id = from.quoted()?;
    from.eat(" caller ")?;
    let caller = from.quoted_or_none()?;
    from.eat(" operation ")?;
    let operation = match from.quoted_or_none()? {
        Some(text) => Some(operation(&text)?),
        None => None,
    };
    Some(Requirement { id, caller, operation, needs: Vec::new() })
}

/// What `operation_text` writes: parameters have lost their names there.
fn operation(text: &str) -> Option<Operation> {
    let (method, path) = text.split_once(' ')?;
    let method = (method != "*").then(|| method.to_owned());
    let segment = |text: &str| (text != "{}").then(|| text.to_owned());
    let path = match path.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('/') => PathPattern::Prefix(prefix.to_owned()),
        _ if path.split('/').any(|segment| segment == "{}") => {
            PathPattern::Template(path.strip_prefix('/')?.split('/').map(segment).collect())
        }
        _ => PathPattern::Exact(path.to_owned()),
    };
    Some(Operation { method, path })
}

fn declaration(from: &mut Cursor<'_>) -> Option<Declaration> {
    let name = from.quoted()?;
    from.eat(" ")?;
    let side = [Side::Request, Side::Caller, Side::Promise];
    let side = side.into_iter().find(|side| from.eat(&side.to_string()).is_some())?;
    from.eat(" ")?;
    let (kind_text, _) = (from.quoted()?, from.eat(" ")?);
    let source_text = from.quoted()?;
    let (mut of_kind, mut of_source) = (Cursor(&kind_text), Cursor(&source_text));
    let kind = kind(&mut of_kind)?;
    let source = source(&mut of_source)?;
    let sensitive = from.eat(" sensitive").is_some();
    Some(Declaration { name, side, kind, source, sensitive })
}

/// A kind as the text has it, which is as Rust's `Debug` writes the type.
fn kind(from: &mut Cursor<'_>) -> Option<Kind> {
    let plain = [
        ("Bool", Kind::Bool),
        ("Int(Plain)", Kind::Int(Unit::Plain)),
        ("Int(Count)", Kind::Int(Unit::Count)),
        ("Int(Bytes)", Kind::Int(Unit::Bytes)),
        ("Duration", Kind::Duration),
        ("Ratio", Kind::Ratio),
        ("Version", Kind::Version),
        ("Text", Kind::Text),
        ("Fingerprint", Kind::Fingerprint),
    ];
    if let Some((_, kind)) = plain.into_iter().find(|(word, _)| *word == from.0) {
        return Some(kind);
    }
    if from.eat("Enum { symbols: ").is_some() {
        let symbols = from.list(Cursor::quoted)?;
        from.eat(", ordered: ")?;
        let ordered = [("true }", true), ("false }", false)];
        let (_, ordered) = ordered.into_iter().find(|(word, _)| *word == from.0)?;
        return Some(Kind::Enum { symbols, ordered });
    }
    if from.eat("Decimal(").is_some() {
        return Some(Kind::Decimal(from.number()?));
    }
    if from.eat("Set(").is_some() {
        return Some(Kind::Set(from.list(Cursor::quoted)?));
    }
    if from.eat("Tail(").is_some() {
        return Some(Kind::Tail(from.list(Cursor::number)?));
    }
    from.eat("Region(Regions { leaves: ")?;
    from.list(Cursor::quoted)?;
    from.eat(", nodes: ")?;
    let nodes = from.list(|from| {
        from.eat("(")?;
        let name = from.quoted()?;
        from.eat(", (")?;
        let low = from.number()?;
        from.eat(", ")?;
        let high = from.number()?;
        from.eat("))")?;
        Some((name, low, high))
    })?;
    let mut nodes = nodes.into_iter().peekable();
    let mut tops = Vec::new();
    while let Some(top) = region(&mut nodes, i64::MAX, REGION_DEPTH_MAX) {
        tops.push(top);
    }
    // What is left lay deeper than any tree may.
    nodes.next().is_none().then(|| Kind::Region(Regions::new(&tops)))
}

/// The next node with what is below it: parents stand before children, and a child's ranks lie
/// within its parent's.
fn region(
    nodes: &mut std::iter::Peekable<impl Iterator<Item = (String, i64, i64)>>,
    up_to: i64,
    depth: usize,
) -> Option<Region> {
    let (name, _, high) = nodes.next_if(|(_, low, _)| *low <= up_to && depth > 0)?;
    let mut below = Vec::new();
    while let Some(child) = region(nodes, high, depth - 1) {
        below.push(child);
    }
    Some(Region { name, below })
}

fn source(from: &mut Cursor<'_>) -> Option<Option<Source>> {
    if from.0 == "None" {
        return Some(None);
    }
    from.eat("Some(")?;
    let plain = [
        ("BodyBytes)", Source::BodyBytes),
        ("Method)", Source::Method),
        ("Path)", Source::Path),
        ("Host)", Source::Host),
        ("CallerId)", Source::CallerId),
    ];
    if let Some((_, source)) = plain.into_iter().find(|(word, _)| *word == from.0) {
        return Some(Some(source));
    }
    from.eat("Header(")?;
    Some(Some(Source::Header(from.quoted()?)))
}

/// What is left of a line.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.0)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let digit = |byte: char| byte.is_ascii_digit() || byte == '-';
        let end = self.0.find(|byte| !digit(byte)).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        digits.parse().ok()
    }

    fn number_or_default(&mut self) -> Option<Option<u64>> {
        if self.eat("default").is_some() { Some(None) } else { self.number().map(Some) }
    }

    /// `[a, b]`, as `Debug` writes it.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.eat("[")?;
        let mut items = Vec::new();
        while self.eat("]").is_none() {
            if !items.is_empty() {
                self.eat(", ")?;
            }
            if items.len() > ATTRIBUTES_MAX {
                return None;
            }
            items.push(one(self)?);
        }
        Some(items)
    }

    /// One or more, separated by spaces.
    fn quoted_list(&mut self) -> Option<Vec<String>> {
        let mut list = vec![self.quoted()?];
        while self.eat(" ").is_some() {
            list.push(self.quoted()?);
        }
        Some(list)
    }

    fn quoted_or_none(&mut self) -> Option<Option<String>> {
        if self.eat("none").is_some() { Some(None) } else { self.quoted().map(Some) }
    }

    fn quoted(&mut self) -> Option<String> {
        String::from_utf8(self.quoted_bytes()?).ok()
    }

    /// The rest of a quoted text, behind its first quote.
    fn quoted_on(&mut self) -> Option<String> {
        String::from_utf8(self.bytes_on()?).ok()
    }

    /// Text between double quotes, with the escapes of Rust's `escape_default` and `escape_ascii`.
    fn quoted_bytes(&mut self) -> Option<Vec<u8>> {
        self.eat("\"")?;
        self.bytes_on()
    }

    fn bytes_on(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let mut letters = self.0.chars();
            let letter = letters.next()?;
            self.0 = letters.as_str();
            match letter {
                '"' => return Some(text),
                '\\' => self.escape(&mut text)?,
                other => text.extend(other.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let mut letters = self.0.chars();
        let kind = letters.next()?;
        self.0 = letters.as_str();
        match kind {
            't' => text.push(b'\t'),
            'r' => text.push(b'\r'),
            'n' => text.push(b'\n'),
            '0' => text.push(0),
            '\'' => text.push(b'\''),
            '"' => text.push(b'"'),
            '\\' => text.push(b'\\'),
            'x' => {
                let (digits, rest) = self.0.split_at_checked(2)?;
                self.0 = rest;
                text.push(u8::from_str_radix(digits, 16).ok()?);
            }
            'u' => {
                self.eat("{")?;
                let (digits, rest) = self.0.split_once('}')?;
                self.0 = rest;
                let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                text.extend(letter.encode_utf8(&mut [0; 4]).bytes());
            }
            _ => return None,
        }
        Some(())
    }

    fn condition(&mut self) -> Option<Condition> {
        let name = self.quoted()?;
        self.eat(" ")?;
        let text = self.quoted()?;
        self.eat(" ")?;
        Some(Condition { name, text, cnf: self.cnf()? })
    }

    fn cnf(&mut self) -> Option<Cnf> {
        let mut clauses = Vec::new();
        if self.eat("true").is_some() {
            return Some(Cnf { clauses });
        }
        loop {
            let mut atoms = Vec::new();
            if self.eat("false").is_none() {
                self.eat("(")?;
                while self.eat(")").is_none() {
                    if !atoms.is_empty() {
                        self.eat(" | ")?;
                    }
                    let (attribute, set) = self.constraint()?;
                    atoms.push(Atom { attribute, set });
                }
            }
            clauses.push(Clause { atoms });
            if self.eat(" & ").is_none() {
                return Some(Cnf { clauses });
            }
        }
    }

    fn promises(&mut self) -> Option<PromiseBox> {
        let mut promises = PromiseBox::new();
        while !self.0.is_empty() {
            if !promises.is_empty() {
                self.eat(" & ")?;
            }
            let (attribute, set) = self.constraint()?;
            promises.insert(attribute, set);
        }
        Some(promises)
    }

    fn constraint(&mut self) -> Option<(AttributeId, Set)> {
        let attribute = AttributeId(self.number()?);
        self.eat(":{")?;
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        while self.eat("}").is_none() {
            if !numbers.is_empty() || !texts.is_empty() {
                self.eat(",")?;
            }
            if self.eat("[").is_some() {
                let low = self.quoted_bytes()?;
                self.eat(" ")?;
                let top = self.eat("none").is_some();
                let high = if top { None } else { Some(self.quoted_bytes()?) };
                self.eat(")")?;
                texts.push((low, high));
            } else {
                let low = self.number()?;
                self.eat("..")?;
                numbers.push((low, self.number()?));
            }
        }
        match (numbers.is_empty(), texts.is_empty()) {
            // Of nothing the text does not say of which type it is: whoever compares the texts of
            // both sees no difference, and neither holds anything.
            (_, true) => Some((attribute, Set::Numbers(Numbers::new(numbers)))),
            (true, false) => Some((attribute, Set::Texts(Texts::new(texts)))),
            (false, false) => None,
        }
    }
}
