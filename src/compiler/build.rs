//! A snapshot out of services with their numbers and of capabilities: all of them new, or most of
//! them as another landscape has them.

use super::offers::{Draft, Drafting, candidate, checked};
use super::policies::{self, Side};
use super::rebind::rebind;
use super::{Problem, Problems, callers, canonical, named, parts, routes, unique};
use crate::config::model::{Condition, Requirement, Service};
use crate::config::quota::Quota;
use crate::snapshot::block::{Blocks, packed};
use crate::snapshot::bound::Bound;
use crate::snapshot::cell::{Cell, Layout};
use crate::snapshot::flat::{Flat, KnownNeeds, NeedsList, Offering, Sheet};
use crate::snapshot::policy::Rule;
use crate::snapshot::section::{Edit, Hash, Kind, Section, Sections, name_digest};
use crate::snapshot::shelf::Shelf;
use crate::snapshot::source::Source;
use crate::snapshot::table::RouteTable;
use crate::snapshot::{
    Candidate, Capability, CapabilityId, Common, Registered, RouteEntry, Routing, ServiceEntry,
    ServiceId, Snapshot,
};
use crate::wire::limits::SERVICES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A service and its number.
pub(super) struct Given<'a> {
    pub(super) number: u32,
    pub(super) service: &'a Service,
    /// The digest of its contract's document.
    pub(super) contract: Hash,
}

/// Services by number.
pub(super) type Places = Shelf<Option<Arc<Registered>>>;

/// A service's entry, and its lines.
pub(super) fn register(given: &Given<'_>) -> (Arc<Registered>, Arc<Section>) {
    let Given { number, service, contract } = given;
    let id: Arc<str> = service.contract.service.as_str().into();
    let [w0, w1, w2, w3, w4, w5, w6, w7, ..] = name_digest(&id);
    // In the order of the canonical text, so that a place among them means the same to everyone.
    let mut endpoints = service.endpoints.clone();
    endpoints.sort();
    let entry = ServiceEntry {
        id: Arc::clone(&id),
        version: service.contract.version.clone(),
        endpoints,
        protocol: service.protocol,
        tls: service.tls.as_ref().map(|tls| tls.expected.clone()),
        tier: service.tier,
        weight: u64::from_be_bytes([w0, w1, w2, w3, w4, w5, w6, w7]),
    };
    let offered = service.contract.offers.iter().map(|it| it.capability.as_str().into()).collect();
    let text = canonical::service_text(*number, service, contract);
    (Arc::new(Registered { entry, offered }), Section::new(Kind::Service, id, *number, text))
}

/// What no service has a part in.
fn common(source: Source, problems: &mut Problems) -> Common {
    let view = parts(&source);
    let numbered = policies::number(&view, problems);
    let classes = callers::compile(&view, &numbered.rules, problems);
    let requirements = sorted_requirements(&source);
    unique(requirements.iter().map(|it| it.id.as_str()), "requirement", problems);
    unique(source.quotas.iter().map(|it| it.id.as_str()), "quota", problems);
    quotas_named(&numbered.rules, &source.quotas, problems);
    let needs = requirements.iter().map(|it| (it.id.clone(), it.needs.clone())).collect();
    Common {
        requirements: needs,
        callers: classes.callers,
        needs_classes: classes.classes.iter().map(|class| class.needs).collect(),
        classes: classes.classes,
        bound: classes.bound,
        rules: numbered.rules.into(),
        next_expiry_s: numbered.next_expiry_s,
        notices: numbered.notices,
        networks: classes.networks,
        source,
    }
}

/// Rules hold calls to quotas that there are: one that is missing would limit nothing.
fn quotas_named(rules: &[Rule], quotas: &[Quota], problems: &mut Problems) {
    for rule in rules {
        for id in &rule.obligations.limits {
            if !quotas.iter().any(|quota| quota.id == *id) {
                let what = format!("holds calls to `{}`, which is no quota", id.escape_debug());
                problems.add(named("rule", &rule.id), what, "add it to `[[quotas]]`");
            }
        }
    }
}

fn sorted_requirements(source: &Source) -> Vec<&Requirement> {
    let mut requirements: Vec<&Requirement> = source.requirements.iter().collect();
    requirements.sort_by(|a, b| a.id.cmp(&b.id));
    requirements
}

/// Compiles all of it.
pub(super) fn whole(
    source: Source,
    given: Vec<Given<'_>>,
    layout: Layout,
    mut problems: Problems,
) -> Result<Snapshot, Vec<Problem>> {
    let places = given.iter().map(|it| it.number as usize + 1).max().unwrap_or(0);
    if places > SERVICES_MAX {
        let what = format!("are numbered up to {places}, above {SERVICES_MAX}");
        problems.add("services".to_owned(), what, "remove services that are not used");
        problems.none()?;
        return Err(Vec::new());
    }
    let mut services: Vec<Option<Arc<Registered>>> = vec![None; places];
    let mut edits = Vec::new();
    let mut offers: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
    for it in &given {
        let (registered, section) = register(it);
        for offer in checked(it.service, &mut problems) {
            let candidate = candidate(it.number, &registered.entry, offer);
            offers.entry(&offer.capability).or_default().push(candidate);
        }
        let place = services.get_mut(it.number as usize);
        if let Some(other) = place.and_then(|place| place.replace(registered)) {
            let id = it.service.contract.service.escape_debug();
            let what = format!("has the number of `{id}` too");
            problems.add(named("service", &other.entry.id), what, "number them apart");
        }
        edits.push(Edit::Put(section));
    }
    let common = common(source, &mut problems);
    let (vocabulary, rules) = (&*common.source.vocabulary, &*common.rules);
    let mut drafting = Drafting { vocabulary, rules, known: BTreeMap::new() };
    let offers = offers.into_iter();
    let drafts = offers.map(|(name, all)| drafting.draft(name.into(), all, &mut problems));
    let drafts = drafts.collect();
    let services: Places = services.into_iter().collect();
    Building { previous: None, common: Arc::new(common), services, edits, layout }
        .finish(drafts, problems)
}

/// What a snapshot is built of.
pub(super) struct Building<'a> {
    /// The landscape whose parts are taken over.
    pub(super) previous: Option<&'a Snapshot>,
    pub(super) common: Arc<Common>,
    pub(super) services: Places,
    /// What becomes of the sections of services.
    pub(super) edits: Vec<Edit>,
    pub(super) layout: Layout,
}

/// A capability laid out.
pub(super) struct Laid {
    pub(super) capability: Arc<Capability>,
    pub(super) words: Option<Arc<[u64]>>,
    pub(super) sheet: Sheet,
}

impl Building<'_> {
    /// Builds the snapshot of these capabilities, which are in the order of their names: routes,
    /// what is bound to them and rules anew, cells where they are not taken over.
    pub(super) fn finish(
        mut self,
        drafts: Vec<Draft>,
        mut problems: Problems,
    ) -> Result<Snapshot, Vec<Problem>> {
        let common = Arc::clone(&self.common);
        let view = parts(&common.source);
        let requirements = sorted_requirements(&common.source);
        let input = routes::Input {
            parts: &view,
            drafts: &drafts,
            requirements: &requirements,
            classes: &common.bound,
        };
        let alike = |it: &&Snapshot| Arc::ptr_eq(&it.common, &common);
        let mut compiled = match self.previous.filter(alike) {
            Some(previous) => rebind(&input, previous, &mut problems),
            None => routes::compile(&input, &mut problems),
        };
        let sides: Vec<Side<'_>> = drafts.iter().map(Side::of).collect();
        let policies = policies::compile(
            &policies::Input {
                parts: &view,
                rules: &common.rules,
                services: &self.services,
                capabilities: &sides,
                routes: &compiled.entries,
                classes: &common.classes,
            },
            &mut problems,
        );
        problems.none()?;
        let mut known = KnownNeeds::default();
        let mut laid = Vec::with_capacity(drafts.len());
        for (draft, needs) in drafts.iter().zip(std::mem::take(&mut compiled.needs)) {
            match self.taken_over(draft, &needs) {
                Some(kept) => laid.push(kept),
                None => {
                    let list = known.list(&needs);
                    let text = canonical::capability_text(&draft.name, &needs);
                    let name = Arc::clone(&draft.name);
                    self.edits.push(Edit::Put(Section::new(Kind::Capability, name, 0, text)));
                    laid.push(lay_out(draft, needs, list, self.layout, &self.services));
                }
            }
        }
        let gone = self
            .previous
            .into_iter()
            .flat_map(|it| it.capabilities.iter())
            .filter(|it| drafts.binary_search_by(|draft| draft.name.cmp(&it.name)).is_err());
        self.edits.extend(gone.map(|it| Edit::Gone(Kind::Capability, Arc::clone(&it.name))));
        let sections = self.sections(&common, &compiled.entries, &drafts);
        let routes::Compiled { rules, entries: routes, bound, table, .. } = compiled;
        let table = table.unwrap_or_else(|| RouteTable::build(&rules, &routes));
        let routing = Routing { routes, rules, table, bound };
        let places = (0..).zip(self.services.iter());
        let free = places.filter(|(_, place)| place.is_none()).map(|(number, _)| number).collect();
        Ok(Snapshot {
            sections,
            free,
            capabilities: laid.iter().map(|it| Arc::clone(&it.capability)).collect(),
            blocks: Blocks::new(laid.iter().map(|it| it.words.clone())),
            flat: Flat::new(laid.into_iter().map(|it| it.sheet)),
            routing: Arc::new(routing),
            policies: Arc::new(policies),
            services: self.services,
            common: self.common,
            layout: self.layout,
        })
    }

    /// A capability as it was, if nothing else is bound to it now.
    fn taken_over(&self, draft: &Draft, needs: &Arc<[Vec<Condition>]>) -> Option<Laid> {
        let (previous, id) = (self.previous?, draft.kept?);
        let capability = previous.capabilities.get(id.0 as usize)?;
        let same = Arc::ptr_eq(&capability.needs, needs) || *capability.needs == **needs;
        same.then_some(())?;
        let sheet = previous.flat.sheet(id)?.clone();
        Some(Laid { capability: Arc::clone(capability), words: previous.blocks.words(id), sheet })
    }

    fn sections(&self, common: &Common, routes: &[RouteEntry], drafts: &[Draft]) -> Sections {
        let follows = canonical::names_routes(common);
        let text = || canonical::common_text(common, routes, drafts);
        match self.previous {
            // What routes follow from contracts is said only where some rule or quota names routes.
            Some(previous) => previous.sections.edited(follows.then(text), &self.edits),
            None => {
                let put = self.edits.iter().filter_map(|edit| match edit {
                    Edit::Put(section) => Some(Arc::clone(section)),
                    Edit::Gone(..) => None,
                });
                Sections::new(text(), put)
            }
        }
    }
}

/// Lays out a capability.
pub(super) fn lay_out(
    draft: &Draft,
    needs: Arc<[Vec<Condition>]>,
    list: NeedsList,
    layout: Layout,
    services: &Places,
) -> Laid {
    let Draft { name, candidates, columns, operations, .. } = draft;
    // Tier and weight from the service itself, not from where the decision has them.
    let offering = |service: ServiceId| {
        let known = services.get(service.0 as usize).and_then(Option::as_ref);
        let (tier, weight) = known.map_or((0, 0), |it| (it.entry.tier, it.entry.weight));
        Offering { service, tier, weight }
    };
    let offers = candidates.iter().map(|it| (offering(it.service), &*it.offer));
    let sheet = Sheet::new(columns, offers, list);
    let bound = needs.iter().map(|needs| Bound::new(candidates, needs)).collect();
    let mut cell = Cell::new(columns, candidates, bound, layout);
    let words = packed(&cell);
    cell.forget_packed();
    let capability = Capability {
        name: Arc::clone(name),
        candidates: Arc::clone(candidates),
        columns: columns.clone(),
        needs,
        operations: Arc::clone(operations),
        cell,
    };
    Laid { capability: Arc::new(capability), words, sheet }
}

/// A capability as it is, to be built into another landscape.
pub(super) fn kept(id: CapabilityId, capability: &Capability) -> Draft {
    Draft {
        name: Arc::clone(&capability.name),
        candidates: Arc::clone(&capability.candidates),
        columns: capability.columns.clone(),
        operations: Arc::clone(&capability.operations),
        kept: Some(id),
    }
}

/// Numbers that nobody has.
pub(super) fn lowest(free: &BTreeSet<u32>, places: usize) -> u32 {
    free.first().copied().unwrap_or_else(|| u32::try_from(places).unwrap_or(u32::MAX))
}
